"""Inside the loop nothing is allocated, and the host waits once for every query: for its answer."""

from __future__ import annotations

from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from arnet.export.replay import Replay
from benchmarks.models import Task
from benchmarks.query import HALF
from benchmarks.recorder import Recorder, main
from benchmarks.timing import device_of

QUERIES = 20
MARK = "arnet loop"
MEMORY = ("Malloc", "MemAlloc", "cudaFree", "MemFree", "HostAlloc", "HostRegister", "MemCreate")
WAITING = ("Synchronize", "cudaMemcpy", "cuMemcpy")


def run(replay: Replay, task: Task, count: int) -> None:
    """Some queries, one after the other."""
    for number in range(count):
        replay.given[...] = task.queries[number % len(task.queries)]
        replay.enqueue()
        replay.wait()


def driver_calls(replay: Replay, task: Task) -> Counter[str]:
    """The calls of CUDA's runtime and driver between begin and end of the loop, by name."""
    kinds = [ProfilerActivity.CPU]
    kinds += [ProfilerActivity.CUDA] if replay.on_gpu else []
    with profile(activities=kinds) as profiler:
        run(replay, task, 2)
        with record_function(MARK):
            run(replay, task, QUERIES)
    events = list(profiler.events() or [])
    (loop,) = [event for event in events if event.name == MARK and event.device_type.name == "CPU"]
    return Counter(
        event.name
        for event in events
        if event.name.startswith("cu") and event.device_type.name == "CPU"
        and loop.time_range.start <= event.time_range.start <= loop.time_range.end
    )  # fmt: skip


def allocations() -> int:
    """Every allocation that torch has made on the GPU so far, from its own store or not."""
    return int(torch.cuda.memory_stats().get("allocation.all.allocated", 0))


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    device = device_of(recorder.dry_run)
    task = Task(device, recorder.dry_run)
    with torch.inference_mode():
        replay = task.ours(HALF)
        run(replay, task, 3)

        def counted() -> None:
            before = allocations(), torch.cuda.mem_get_info()[0]
            run(replay, task, QUERIES)
            after = allocations(), torch.cuda.mem_get_info()[0]
            recorder.row("loop/allocations", (after[0] - before[0]) / QUERIES)
            recorder.row("loop/memory", (before[1] - after[1]) / 2**20)

        def profiled() -> None:
            calls = driver_calls(replay, task)
            recorder.fact("driver calls", dict(calls))
            if replay.on_gpu and not any("GraphLaunch" in name for name in calls):
                raise ValueError(f"the profiler saw no launch of a graph, only {dict(calls)}")
            memory = sum(n for name, n in calls.items() if any(word in name for word in MEMORY))
            waits = sum(
                n for name, n in calls.items()
                if any(word in name for word in WAITING) and "Async" not in name
            )  # fmt: skip
            told = ", ".join(f"{name} {n / QUERIES:g}" for name, n in calls.most_common(6))
            recorder.row("loop/driver", memory / QUERIES, detail=told)
            beside = max(waits - QUERIES, 0) / QUERIES
            recorder.row("loop/synchronisations", beside, detail=f"{waits / QUERIES:g} in all")

        if device.type == "cuda":
            recorder.attempt(["loop/allocations", "loop/memory"], counted)
        recorder.attempt(["loop/driver", "loop/synchronisations"], profiled)


if __name__ == "__main__":
    main(work)
