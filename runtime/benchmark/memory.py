"""Peak memory of a contender, measured in a process that does nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from arnet.runtime.benchmark.scenarios import Contender, learn
from arnet.runtime.benchmark.workload import Photograph
from arnet.runtime.supports import Support

QUERIES = 3
"""The first call may allocate more than the next ones, or less."""


def peak_memory(
    contender: Contender, supports: Mapping[str, Sequence[Support]], query: Photograph
) -> dict[str, int] | str:
    """Open a contender in a fresh process, learn and answer a query there.

    Args:
        contender: what to open; must be picklable.
        supports: the classes to learn.
        query: the photograph to segment.

    Returns:
        Bytes of resident memory: "imported" (Python, NumPy, the photographs), "opened", and the
        peaks "support" and "query"; where the system cannot reset its peak, only "whole", that of
        all of it. If it could not be measured, the reason.
    """
    # Spawned, not forked: a fork starts with the memory of this process.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, contender, supports, query).result()
        except BrokenProcessPool:
            return "the process was ended, probably for want of memory"
        except Exception as error:  # the times that were measured before are not to be lost
            return f"{type(error).__name__}: {error}"


def _measure(
    contender: Contender, supports: Mapping[str, Sequence[Support]], query: Photograph
) -> dict[str, int] | str:
    found = {"imported": _resident("VmRSS")}
    segmenter = contender.open()
    found["opened"] = _resident("VmRSS")
    can_reset = _reset_peak()
    states: dict[str, Any] = learn(segmenter, supports)
    found["support"] = _resident("VmHWM")
    _reset_peak()
    for _ in range(QUERIES):
        segmenter.segment(query.image, states).labels()
    found["query"] = _resident("VmHWM")
    told = {name: value for name, value in found.items() if value is not None}
    if can_reset and len(told) == len(found):
        return told
    return _whole()


def _resident(field: str) -> int | None:
    """VmRSS, what is resident now, or VmHWM, its peak since the last reset; in bytes."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    words = [line.split() for line in lines if line.startswith(f"{field}:")]
    return int(words[0][1]) * 1024 if words else None


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _whole() -> dict[str, int] | str:
    # On Linux getrusage would tell the peak of the process that started this one, were it larger.
    peak = _resident("VmHWM")
    if peak is not None:
        return {"whole": peak}
    try:
        import resource
    except ImportError:
        return "this system does not tell it"
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"whole": largest if sys.platform == "darwin" else largest * 1024}
