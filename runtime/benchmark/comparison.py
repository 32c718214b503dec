"""What the times say of each other: contender by contender, and over shots and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arnet.runtime.benchmark.result import BenchmarkResult, Measurement

RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """How many times as long as the bundle a contender takes for a query.

    Attributes:
        contender: its name.
        shots: supports of each class.
        classes: number of classes.
        ratio: its median over the bundle's.
        low: lower end of the 95 % interval (bootstrap over the rounds, which both were in).
        high: upper end.
        reads_supports: whether its query includes the work on the supports.
    """

    contender: str
    shots: int
    classes: int
    ratio: float
    low: float
    high: float
    reads_supports: bool


@dataclass(frozen=True)
class Growth:
    """How the cost of a contender grows.

    Attributes:
        contender: its name.
        scenario: "support", "query" or "episode".
        over: "shots" or "classes"; the other one stays at its first value.
        factors: median by number of shots or classes, over that of the first number.
    """

    contender: str
    scenario: str
    over: str
    factors: dict[int, float]


def ratios(result: BenchmarkResult) -> list[Ratio]:
    """The ratios of the query's medians, for every contender but the first, the bundle."""
    base, *others = result.contenders
    found = []
    for own in result.select(base.name, "query"):
        for other in others:
            measured = result.find(other.name, "query", own.shots, own.classes)
            if measured is not None:
                ratio, low, high = median_ratio(measured.seconds, own.seconds)
                cell = (own.shots, own.classes)
                found.append(Ratio(other.name, *cell, ratio, low, high, not other.caches_support))
    return found


def median_ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of two medians, with its 95 % interval.

    Args:
        above: samples of the rounds.
        below: samples of the same rounds.

    Returns:
        The ratio, and the 2.5th and the 97.5th percentile of the ratios of resampled rounds.
    """
    pair = np.array([above, below])
    chosen = np.random.default_rng(0).integers(0, pair.shape[1], (RESAMPLES, pair.shape[1]))
    resampled = np.median(pair[:, chosen], axis=2)
    low, high = np.percentile(resampled[0] / resampled[1], [2.5, 97.5])
    ratio = np.median(pair[0]) / np.median(pair[1])
    return float(ratio), float(low), float(high)


def growths(result: BenchmarkResult) -> list[Growth]:
    """The growth of each contender's median over shots and over classes, if there are several."""
    found = []
    for contender in result.contenders:
        for scenario in result.settings["scenarios"]:
            measured = result.select(contender.name, scenario)
            if not measured:
                continue
            first = measured[0]
            for over, series in (
                ("shots", [m for m in measured if m.classes == first.classes]),
                ("classes", [m for m in measured if m.shots == first.shots]),
            ):
                if len(series) > 1:
                    factors = {_number(m, over): _growth(m, first) for m in series}
                    found.append(Growth(contender.name, scenario, over, factors))
    return found


def _number(measurement: Measurement, over: str) -> int:
    return measurement.shots if over == "shots" else measurement.classes


def _growth(measurement: Measurement, first: Measurement) -> float:
    return measurement.summary.median / first.summary.median
