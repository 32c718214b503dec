"""Reasons to doubt a measurement, found in the measurement itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arnet.runtime.benchmark.gpu import throttled
from arnet.runtime.benchmark.result import Measurement
from arnet.runtime.benchmark.timing import PERCENTILE_FLOORS

LARGEST_VARIATION = {"cpu": 0.10, "gpu": 0.025}
"""Coefficient of variation above which times are called unsteady; the GPU's is trtexec's."""

BUSY_CORES = 0.1
"""Cores that other processes may use before it is told."""

WAITING = 0.3
"""Load average before the run above which something else was running."""


def caveats(
    measurements: Sequence[Measurement],
    environment: Mapping[str, Any],
    on_gpu: Mapping[str, bool],
    min_samples: int,
) -> list[str]:
    """Everything that speaks against the numbers, a sentence each.

    Args:
        measurements: what was measured.
        environment: with the readings before and after.
        on_gpu: whether each contender ran on a GPU, by its name.
        min_samples: what was asked for.
    """
    return [
        *_of_the_machine(environment),
        *_of_the_devices(on_gpu),
        *_of_the_spread(measurements, on_gpu),
        *_of_the_number(measurements, min_samples),
        *_of_the_states(measurements),
    ]


def _of_the_machine(environment: Mapping[str, Any]) -> list[str]:
    found = []
    before = environment["load_average"]
    if before is not None and before[0] > WAITING:
        found.append(f"load average {before[0]:.2f} before the run: something else was running")
    used = environment["cores_used"]
    if used["others"] is not None and used["others"] > BUSY_CORES:
        found.append(
            f"other processes used {used['others']:.1f} of {environment['cores']} cores meanwhile"
        )
    if used["stolen"] is not None and used["stolen"] > BUSY_CORES:
        found.append(f"the host took {used['stolen']:.1f} cores away from this virtual machine")
    during = (environment.get("gpu_during") or {}).get("held_back") or {}
    for reason, share in during.items():
        found.append(f"the GPU held its clock back in {100 * share:.0f} % of the time: {reason}")
    if not during and (throttled(environment["gpu"]) or throttled(environment["gpu_after"])):
        found.append("the GPU held its clock back (throttle reasons in the JSON)")
    return found


def _of_the_devices(on_gpu: Mapping[str, bool]) -> list[str]:
    if len(set(on_gpu.values())) < 2:
        return []
    names = ", ".join(name for name, gpu in on_gpu.items() if gpu)
    return [f"only some contenders ran on the GPU: {names}"]


def _of_the_spread(measurements: Sequence[Measurement], on_gpu: Mapping[str, bool]) -> list[str]:
    def limit(m: Measurement) -> float:
        return LARGEST_VARIATION["gpu" if on_gpu[m.contender] else "cpu"]

    unsteady = [m for m in measurements if m.summary.variation > limit(m)]
    if not unsteady:
        return []
    worst = max(unsteady, key=lambda m: m.summary.variation / limit(m))
    return [
        f"{len(unsteady)} of {len(measurements)} measurements are unsteady, or the photographs "
        f"differ in cost; most: {name_of(worst)}, which varies by "
        f"{100 * worst.summary.variation:.0f} % (limit {100 * limit(worst):g} %)"
    ]


def _of_the_number(measurements: Sequence[Measurement], min_samples: int) -> list[str]:
    fewest = min((m.summary.count for m in measurements), default=min_samples)
    wanted = next((floor for floor in PERCENTILE_FLOORS.values() if fewest < floor), None)
    if wanted is None:
        return []
    percent = next(p for p, floor in PERCENTILE_FLOORS.items() if floor == wanted)
    return [f"{fewest} samples are too few for p{percent}: --min-samples {wanted}"]


def _of_the_states(measurements: Sequence[Measurement]) -> list[str]:
    """An episode that costs less than its parts was not cold."""
    medians = {
        (m.contender, m.shots, m.classes, m.scenario): m.summary.median for m in measurements
    }
    found = []
    for (contender, shots, classes, scenario), episode in medians.items():
        cell = (contender, shots, classes)
        support, query = medians.get((*cell, "support")), medians.get((*cell, "query"))
        if scenario == "episode" and support is not None and query is not None:
            parts = support + query
            if episode < 0.7 * parts:
                found.append(
                    f"{contender}: an episode takes {100 * episode / parts:.0f} % of support and "
                    "query together; something of it was remembered"
                )
    return found


def name_of(measurement: Measurement) -> str:
    """Such as "bundle, query, 5 shots, 1 class"."""
    return f"{measurement.contender}, {cell_name(measurement)}"


def cell_name(measurement: Measurement) -> str:
    """Such as "query, 5 shots, 1 class"."""
    return f"{measurement.scenario}, {size_name(measurement.shots, measurement.classes)}"


def size_name(shots: int, classes: int) -> str:
    """Such as "5 shots, 1 class"."""
    return f"{shots} shot{'' if shots == 1 else 's'}, {classes} class{'' if classes == 1 else 'es'}"
