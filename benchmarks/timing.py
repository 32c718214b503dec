"""Time on a GPU by its own clock, and on a processor in a rehearsal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

ROUNDS = 15


def device_of(dry_run: bool) -> torch.device:
    """The GPU, or the processor in a rehearsal.

    Raises:
        RuntimeError: there is no GPU.
    """
    if not dry_run and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU")
    return torch.device("cpu" if dry_run else "cuda:0")


def seconds(launch: Callable[[int], object], device: torch.device, repeats: int = 20) -> float:
    """Median seconds of one launch among ``repeats`` that follow each other in a CUDA graph.

    Args:
        launch: takes the number of the repetition, so that it can go through several inputs.
        device: where it computes.
        repeats: launches in the graph; of many, what the events cost does not count.
    """
    if device.type != "cuda":
        began = time.perf_counter()
        launch(0)
        return time.perf_counter() - began
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for number in range(repeats):
            launch(number)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for number in range(repeats):
            launch(number)
    spent = []
    with torch.cuda.stream(stream):
        graph.replay()
        for _ in range(ROUNDS):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            graph.replay()
            after.record()
            after.synchronize()
            spent.append(before.elapsed_time(after) / 1000 / repeats)
    return statistics.median(spent)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second that a large copy reads and writes."""
    count = 2**16 if device.type != "cuda" else 2**31
    source = torch.randint(0, 255, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / seconds(lambda _: target.copy_(source), device, repeats=5)


def launch_time(device: torch.device) -> float:
    """Seconds of the least kernel there is, as one of many in a graph."""
    one = torch.zeros(1, device=device)
    return seconds(lambda _: one.add_(1), device, repeats=100)
