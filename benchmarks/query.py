"""A query from the photograph in the host's memory to the label map there, by every contender.

The contenders take turns in one process, so that all meet the same clocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from arnet.export.replay import Replay
from arnet.export.torch_kernels import Options
from arnet.runtime.benchmark.timing import DEVICE, Call, Samples, Sampling, measure
from benchmarks.models import Task
from benchmarks.recorder import Recorder, main
from benchmarks.timing import device_of

HALF = Options(precision="fp16")
STAGES = ("preprocess", "encode_image", "encode_query", "decode", "postprocess")
LEAST_AGREEMENT = 0.97
"""Share of pixels in which a contender must agree with the model as drawn: to see gross errors.
The weights are random, so that many margins are about 0; parity is another step."""

MILLI = 1000


def calls_of(replays: Mapping[str, Replay], task: Task) -> dict[str, Call]:
    """What is timed of each contender; the GPU's own time stands beside it."""

    def call(replay: Replay, number: int) -> dict[str, float]:
        photograph = task.queries[number % len(task.queries)]
        began = time.perf_counter()
        replay.given[...] = photograph
        replay.enqueue()
        enqueued = time.perf_counter() - began
        replay.wait()
        replay.answers()
        parts = {f"{DEVICE}{name}": spent for name, spent in replay.seconds().items()}
        return {**parts, f"{DEVICE}enqueue": enqueued}

    return {name: partial(call, replay) for name, replay in replays.items()}


def medians(samples: Samples) -> dict[str, float]:
    """Milliseconds: "host", "device", "enqueue" and the parts."""
    parts = {name: MILLI * statistics.median(values) for name, values in samples.device.items()}
    enqueue = parts.pop("enqueue")
    host = MILLI * statistics.median(samples.seconds)
    return {**parts, "host": host, "device": sum(parts.values()), "enqueue": enqueue}


def measured(
    recorder: Recorder, replays: Mapping[str, Replay], task: Task
) -> dict[str, dict[str, float]]:
    """Measure contenders by turns; what all took is kept as a fact."""
    few = Sampling(0.0, 2, 0.0, 1, 0.0)
    sampling = few if recorder.dry_run else Sampling(2.0, 60, 0.5, 10, 0.0)
    found = {name: medians(s) for name, s in measure(calls_of(replays, task), sampling).items()}
    recorder.fact("milliseconds", {**recorder.facts.get("milliseconds", {}), **found})
    return found


def agreement(found: Replay, expected: Replay, task: Task) -> float:
    """Share of pixels in which two contenders agree."""
    pairs = [(found(query)["labels"], expected(query)["labels"]) for query in task.queries]
    return float(np.mean([first == second for first, second in pairs]))


def told(ours: dict[str, float], other: dict[str, float]) -> str:
    """Two contenders in words."""
    return (
        f"host to host {ours['host']:.3f} ms against {other['host']:.3f} ms, device "
        f"{ours['device']:.3f} against {other['device']:.3f}"
    )


def check(recorder: Recorder, replays: dict[str, Replay], reference: str, task: Task) -> None:
    """Contenders that compute something else are left out, which is told."""
    shares: dict[str, Any] = {}
    for name, replay in list(replays.items()):
        share = agreement(replay, replays[reference], task)
        shares[name] = share
        if share < LEAST_AGREEMENT:
            del replays[name]
    recorder.fact("agreement", {**recorder.facts.get("agreement", {}), **shares})
    if wrong := sorted(shares.keys() - replays.keys()):
        raise ValueError(f"{', '.join(wrong)} gives other masks than {reference}: {shares}")


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    device = device_of(recorder.dry_run)
    task = Task(device, recorder.dry_run)
    with torch.inference_mode():
        replays = {
            "ours": task.ours(HALF),
            "eager": task.replay(task.drawn(task.model.to(device), torch.float32, cached=False)),
        }
        try:
            check(recorder, replays, "eager", task)
        finally:
            rows(recorder, replays, task)


def rows(recorder: Recorder, replays: dict[str, Replay], task: Task) -> None:
    """What the contenders that are there give."""
    found = measured(recorder, replays, task)
    if "ours" in found:
        ours = found["ours"]
        recorder.row("query/device", ours["device"], detail="one CUDA graph, without the copies")
        recorder.row("query/host", ours["host"], detail="upload and download included")
        recorder.row("query/enqueue", ours["enqueue"])
        recorder.row(
            "query/eager", found["eager"]["host"] / ours["host"], detail=told(ours, found["eager"])
        )

        def by_stage() -> None:
            staged = {"ours by stage": task.ours(Options(precision="fp16", graphs="stages"))}
            parts = measured(recorder, staged, task)["ours by stage"]
            for stage in STAGES:
                recorder.row(f"stage/{stage}", parts[stage], detail="a CUDA graph of its own")

        def cached() -> None:
            eager = {"eager fp16 cached": task.replay(task.drawn(task.half(), torch.float16))}
            other = measured(recorder, eager, task)["eager fp16 cached"]
            recorder.row(
                "query/eager-cached", other["host"] / ours["host"], detail=told(ours, other)
            )

        recorder.attempt([f"stage/{stage}" for stage in STAGES], by_stage)

        def rounded() -> None:
            whole = task.drawn(task.model.to(task.device), torch.float32, cached=False)
            eager = {"eager tf32": task.replay(whole, tf32=True)}
            other = measured(recorder, eager, task)["eager tf32"]
            recorder.row("query/eager-tf32", other["host"] / ours["host"], detail=told(ours, other))

        recorder.attempt("query/eager-tf32", rounded)
        recorder.attempt("query/eager-cached", cached)


if __name__ == "__main__":
    main(work)
