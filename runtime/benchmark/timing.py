"""Latencies: the loop that measures contenders by turns, and the statistics of what it found."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PERCENTILE_FLOORS = {90: 64, 95: 130, 99: 662}
"""Samples a percentile needs before it is printed: below, it would be the luck of a few calls.
The floors of MLPerf for the 90th and the 99th; that of the 95th lies between them."""

Call = Callable[[int], dict[str, float]]
"""Works on the i-th input and returns the seconds of each stage, as far as they are known."""

DEVICE = "device: "
"""How the name of a part begins whose seconds a GPU told by its own clock: they lie within the
others and are kept apart from them."""


@dataclass(frozen=True)
class Sampling:
    """How long to measure.

    Attributes:
        duration: seconds for each contender on average; the rounds go on until all together have
            had it, so that each has as many samples as the others.
        min_samples: samples of each contender, however long they take.
        warm_up_seconds: unmeasured time of each contender before.
        warm_up_calls: unmeasured calls of each contender before.
        pause: seconds before each call when contenders take turns: the threads of the one before
            may wait busily for more work, on cores that the next one needs.
    """

    duration: float = 3.0
    min_samples: int = 20
    warm_up_seconds: float = 0.2
    warm_up_calls: int = 3
    pause: float = 0.02

    @staticmethod
    def suited(gpu: bool, duration: float, min_samples: int | None) -> Sampling:
        """What suits the device: a GPU answers in milliseconds and takes longer to settle.

        Args:
            gpu: whether one of the contenders runs on a GPU.
            duration: as above.
            min_samples: as above; None for 20 on a CPU and 100 on a GPU.
        """
        if min_samples is None:
            min_samples = 100 if gpu else 20
        return Sampling(duration, min_samples, warm_up_calls=10 if gpu else 3)


@dataclass
class Samples:
    """Every call that was measured, none left out, in the order of the measurement.

    Attributes:
        seconds: wall time of each call.
        stages: seconds of each stage, by its name, as long as ``seconds``.
        device: the same by the clock of a GPU.
    """

    seconds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    device: dict[str, list[float]] = field(default_factory=dict)

    def add(self, seconds: float, stages: Mapping[str, float]) -> None:
        """Add a call; a stage that it did not have took no time."""
        host = {name: spent for name, spent in stages.items() if not name.startswith(DEVICE)}
        device = {name.removeprefix(DEVICE): stages[name] for name in stages.keys() - host.keys()}
        for columns, parts in ((self.stages, host), (self.device, device)):
            for name in [*columns, *parts]:
                column = columns.setdefault(name, [0.0] * len(self.seconds))
                if len(column) == len(self.seconds):
                    column.append(parts.get(name, 0.0))
        self.seconds.append(seconds)


@dataclass(frozen=True)
class Summary:
    """Statistics of latencies, in the unit of the samples.

    Attributes:
        count: number of samples, n.
        minimum: the fastest.
        median: half of the samples are faster.
        mean: arithmetic mean.
        deviation: standard deviation of the sample (n - 1); 0 for a single one.
        maximum: the slowest.
        percentiles: by percent; None where there are fewer samples than ``PERCENTILE_FLOORS``.
    """

    count: int
    minimum: float
    median: float
    mean: float
    deviation: float
    maximum: float
    percentiles: dict[int, float | None]

    @property
    def variation(self) -> float:
        """Coefficient of variation: deviation over mean."""
        return self.deviation / self.mean if self.mean else 0.0


def summarise(samples: Sequence[float]) -> Summary:
    """Statistics of at least one sample; no outlier is removed."""
    count = len(samples)
    return Summary(
        count,
        min(samples),
        statistics.median(samples),
        statistics.fmean(samples),
        statistics.stdev(samples) if count > 1 else 0.0,
        max(samples),
        {
            percent: percentile(samples, percent) if count >= floor else None
            for percent, floor in PERCENTILE_FLOORS.items()
        },
    )


def percentile(samples: Sequence[float], percent: int) -> float:
    """The smallest sample that at least ``percent`` of the samples do not exceed.

    It is always a time that was measured (nearest rank), never one between two.

    Args:
        samples: at least one.
        percent: a whole number from 1 to 100.
    """
    rank = math.ceil(percent * len(samples) / 100)
    return sorted(samples)[rank - 1]


def measure(
    calls: Mapping[str, Call],
    sampling: Sampling,
    progress: Callable[[int], None] = lambda rounds: None,
) -> dict[str, Samples]:
    """Measure contenders by turns, so that a machine that grows slower does so for all alike.

    In a round every contender works once on the same input, in an order drawn anew for each round
    (from a fixed seed), so that none always follows the same other.

    Args:
        calls: the work of each contender, by its name.
        sampling: when to stop.
        progress: called with the number of rounds after each.

    Returns:
        The samples of each contender; all have the same number.
    """
    for call in calls.values():
        _warm_up(call, sampling)
    samples = {name: Samples() for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    rounds = 0
    started = time.perf_counter()
    enough = sampling.duration * len(calls)
    while rounds < sampling.min_samples or time.perf_counter() - started < enough:
        shuffle(order)
        for name in order:
            if len(calls) > 1:
                time.sleep(sampling.pause)
            began = time.perf_counter_ns()
            stages = calls[name](rounds)
            samples[name].add((time.perf_counter_ns() - began) / 1e9, stages)
        rounds += 1
        progress(rounds)
    return samples


def _warm_up(call: Call, sampling: Sampling) -> None:
    started = time.perf_counter()
    done = 0
    while done < sampling.warm_up_calls or (
        time.perf_counter() - started < sampling.warm_up_seconds
    ):
        call(done)
        done += 1
