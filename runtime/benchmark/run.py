"""A benchmark from its photographs to its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from arnet.runtime.benchmark.accuracy import Accuracy, cases, compare
from arnet.runtime.benchmark.caveats import caveats
from arnet.runtime.benchmark.environment import (
    ProcessorTimes,
    describe_environment,
    load_average,
)
from arnet.runtime.benchmark.gpu import describe_gpu
from arnet.runtime.benchmark.memory import peak_memory
from arnet.runtime.benchmark.nvml import Watch
from arnet.runtime.benchmark.result import BenchmarkResult, ContenderRecord, Measurement
from arnet.runtime.benchmark.scenarios import (
    SCENARIOS,
    Contender,
    Opened,
    Scenario,
    applies,
    call_of,
    open_contender,
)
from arnet.runtime.benchmark.timing import Sampling, measure
from arnet.runtime.benchmark.workload import Workload
from arnet.runtime.errors import ConfigError

MEMORY_SHOTS = 5

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and of how much; 0 where that is open."""


@dataclass(frozen=True)
class Scope:
    """What to measure.

    Attributes:
        shots: numbers of supports of each class.
        classes: numbers of classes.
        scenarios: which parts of the work.
        duration: seconds for each contender in each scenario.
        min_samples: samples of each; None for what suits a CPU or a GPU.
        decode: whether reading the photographs from their files is part of it.
        fixed_shots: the only number of supports the model takes, None for any.
        memory: whether to measure memory, for which each contender is opened once more.
    """

    shots: Sequence[int] = (1, 5)
    classes: Sequence[int] = (1,)
    scenarios: Sequence[Scenario] = SCENARIOS
    duration: float = 3.0
    min_samples: int | None = None
    decode: bool = False
    fixed_shots: int | None = None
    memory: bool = True

    def with_fixed_shots(self, fixed: int | None, asked: bool) -> Scope:
        """The same for a model that takes one number of shots and no other.

        Args:
            fixed: that number; None for a model that takes any.
            asked: whether the numbers of this scope were asked for.

        Raises:
            ConfigError: others were asked for.
        """
        if fixed is None:
            return self
        if asked and tuple(self.shots) != (fixed,):
            numbers = ", ".join(map(str, self.shots))
            raise ConfigError(
                f"{numbers} shots were asked for, and the bundle takes {fixed}, no other number",
                f"--shots {fixed}",
            )
        return replace(self, shots=(fixed,), fixed_shots=fixed)


def run(
    contenders: Sequence[Contender],
    workload: Workload,
    scope: Scope,
    reference: str | None = None,
    parity: dict[str, Any] | None = None,
    command: str = "",
    doubts: Sequence[str] = (),
    progress: Progress = lambda what, done, total: None,
) -> BenchmarkResult:
    """Open the contenders, compare their masks, then measure them by turns.

    Args:
        contenders: the first is the one the others are compared with in time: the bundle.
        workload: the photographs.
        scope: what to measure.
        reference: the one the others are compared with in accuracy; None for none.
        parity: what the bundle says of its own parity.
        command: what was typed, for the record.
        doubts: what else speaks against the numbers.
        progress: told what happens.

    Raises:
        ArnetError: a contender cannot be opened or refuses the photographs.
    """
    environment = describe_environment()
    opened = []
    for number, contender in enumerate(contenders):
        progress(f"opening {contender.name}", number, len(contenders))
        first = workload.episode(scope.shots[0], scope.classes[0])
        opened.append(open_contender(contender, first, workload.queries[0]))
    on_gpu = {one.name: on_a_gpu(one.segmenter.describe()) for one in opened}
    sampling = Sampling.suited(any(on_gpu.values()), scope.duration, scope.min_samples)
    accuracy = _accuracy(opened, workload, scope, reference, progress)
    began = ProcessorTimes.now()
    with Watch() if any(on_gpu.values()) else nullcontext() as watch:
        measurements = _measure(opened, workload, scope, sampling, progress)
    environment["gpu_during"] = None if watch is None else watch.summary()
    environment["cores_used"] = ProcessorTimes.now().cores_since(began)
    environment["load_average_after"] = load_average()
    environment["gpu_after"] = describe_gpu()
    memory = _memory(contenders, workload, scope, progress)
    records = [
        ContenderRecord(
            one.name,
            one.segmenter.describe(),
            one.caches_support,
            one.load,
            one.first,
            memory[one.name],
            _plain(accuracy[one.name], compared=reference not in (None, one.name)),
        )
        for one in opened
    ]
    return BenchmarkResult(
        command,
        {
            "scenarios": list(scope.scenarios),
            "shots": list(scope.shots),
            "classes": list(scope.classes),
            "decode": scope.decode,
            **asdict(sampling),
        },
        {
            "synthetic": workload.synthetic,
            "supports": {
                name: [str(support.path) for support in members]
                for name, members in workload.supports.items()
            },
            "queries": [str(query.path) for query in workload.queries],
        },
        environment,
        records,
        measurements,
        reference,
        parity,
        workload.notes(scope.shots, scope.classes),
        [*doubts, *caveats(measurements, environment, on_gpu, sampling.min_samples)],
    )


def on_a_gpu(description: Mapping[str, Any]) -> bool:
    """Whether a contender says that it runs on a GPU, whatever words it has for that."""
    words = str([description.get(key) for key in ("device", "engine", "providers")]).lower()
    return any(word in words for word in ("cuda", "tensorrt", "gpu"))


def _measure(
    opened: Sequence[Opened],
    workload: Workload,
    scope: Scope,
    sampling: Sampling,
    progress: Progress,
) -> list[Measurement]:
    cells = list(product(scope.shots, scope.classes, scope.scenarios))
    measurements = []
    for number, (shots, classes, scenario) in enumerate(cells):
        what = f"{scenario}, shots {shots}, classes {classes}"
        progress(what, number, len(cells))
        supports = workload.episode(shots, classes)
        calls = {
            one.name: call_of(scenario, one.segmenter, supports, workload.queries, scope.decode)
            for one in opened
            if applies(scenario, one)
        }
        if not calls:
            continue

        def told(rounds: int, what: str = what, number: int = number) -> None:
            progress(f"{what}: {rounds} samples", number, len(cells))

        for name, samples in measure(calls, sampling, told).items():
            cell = (name, scenario, shots, classes)
            found = Measurement(*cell, samples.seconds, samples.stages, samples.device)
            measurements.append(found)
    progress("measured", len(cells), len(cells))
    return measurements


def _accuracy(
    opened: Sequence[Opened],
    workload: Workload,
    scope: Scope,
    reference: str | None,
    progress: Progress,
) -> dict[str, Accuracy]:
    questions = cases(workload, scope.fixed_shots)
    if reference is None:  # without a reference, only known masks tell anything
        questions = [case for case in questions if case.truth is not None]
    return compare(
        {one.name: one.segmenter for one in opened},
        questions,
        reference,
        lambda done: progress("comparing masks", done, len(questions)),
    )


def _memory(
    contenders: Sequence[Contender], workload: Workload, scope: Scope, progress: Progress
) -> dict[str, dict[str, int] | str]:
    found: dict[str, dict[str, int] | str] = {}
    supports = workload.episode(scope.fixed_shots or MEMORY_SHOTS, 1)
    for number, one in enumerate(contenders):
        progress(f"memory of {one.name}", number, len(contenders))
        why_not = one.no_memory if scope.memory else "not asked for"
        found[one.name] = why_not or peak_memory(one, supports, workload.queries[0])
    return found


def _plain(accuracy: Accuracy, compared: bool) -> dict[str, Any]:
    return {
        "annotated": accuracy.annotated,
        "mean_iou": accuracy.mean_iou(),
        "compared": accuracy.compared,
        "changed_percent": accuracy.changed_percent() if compared else None,
        "largest_difference": accuracy.largest_difference if compared else None,
    }
