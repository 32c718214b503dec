"""The contenders, and the pieces of their work that are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from arnet.runtime.benchmark.timing import DEVICE, Call
from arnet.runtime.benchmark.workload import Photograph
from arnet.runtime.images import read_image
from arnet.runtime.learning import learn_class
from arnet.runtime.segmentation import FewShotSegmenter
from arnet.runtime.supports import Support

Scenario = Literal["support", "query", "episode"]
"""support: k shots of each class become their states. query: one photograph, the states at hand.
episode: both, nothing at hand."""

SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


@dataclass(frozen=True)
class Contender:
    """A name and a way to open what is measured under it.

    Attributes:
        name: as it stands in the table.
        open: makes the segmenter; a module-level function, or a ``functools.partial`` of one,
            since the memory is measured in a process of its own.
        no_memory: why its memory is not measured; empty if it is.
    """

    name: str
    open: Callable[[], FewShotSegmenter[Any]]
    no_memory: str = ""


@dataclass(frozen=True)
class Opened:
    """A contender that has been opened and has made its first call.

    Attributes:
        name: that of the contender.
        segmenter: what answers.
        load: seconds that opening took.
        first: seconds of the first calls, "support" and "query".
    """

    name: str
    segmenter: FewShotSegmenter[Any]
    load: float
    first: dict[str, float]

    @property
    def caches_support(self) -> bool:
        """Whether a query can be answered without the work on the supports.

        The whole model in one graph cannot: its attribute ``caches_support`` is False.
        """
        return bool(getattr(self.segmenter, "caches_support", True))


def open_contender(
    contender: Contender, supports: Mapping[str, Sequence[Support]], query: Photograph
) -> Opened:
    """Open a contender and time that and its first call, which may compile or allocate.

    Args:
        contender: what to open.
        supports: the classes of the first call.
        query: the photograph of the first call.

    Raises:
        ArnetError: whatever the segmenter finds wrong.
    """
    began = time.perf_counter()
    segmenter = contender.open()
    load = time.perf_counter() - began
    began = time.perf_counter()
    states = learn(segmenter, supports)
    learnt = time.perf_counter()
    segmenter.segment(query.image, states).labels()
    first = {"support": learnt - began, "query": time.perf_counter() - learnt}
    return Opened(contender.name, segmenter, load, first)


def applies(scenario: Scenario, opened: Opened) -> bool:
    """Whether a contender has this scenario: without states there is no encoding of a support."""
    return scenario != "support" or opened.caches_support


def call_of(
    scenario: Scenario,
    segmenter: FewShotSegmenter[Any],
    supports: Mapping[str, Sequence[Support]],
    queries: Sequence[Photograph],
    decode: bool = False,
) -> Call:
    """The work that is timed, from decoded RGB in memory to the label map in memory.

    Args:
        scenario: which part of it.
        segmenter: who does it.
        supports: the classes, as (H, W, 3) and (H, W) uint8.
        queries: photographs, taken in turn.
        decode: also read the photographs from their files (their annotations not).

    Returns:
        The call. Its stages are those the segmenter tells, and "read", "learn" and "labels"; those
        of a GPU begin with ``DEVICE``.
    """
    states = learn(segmenter, supports) if scenario == "query" else {}

    def call(number: int) -> dict[str, float]:
        stages: dict[str, float] = {}
        current: Mapping[str, Any] = states
        if scenario != "query":
            shots = _decoded(supports, stages) if decode else supports
            began = time.perf_counter()
            current = learn(segmenter, shots)
            stages["learn"] = time.perf_counter() - began
        if scenario != "support":
            query = queries[number % len(queries)]
            image = query.image
            if decode:
                began = time.perf_counter()
                image = read_image(query.path)
                stages["read"] = stages.get("read", 0.0) + time.perf_counter() - began
            segmentation = segmenter.segment(image, current)
            began = time.perf_counter()
            segmentation.labels()
            stages |= segmentation.seconds
            stages["labels"] = time.perf_counter() - began
            stages |= {f"{DEVICE}{name}": spent for name, spent in segmentation.device.items()}
        return stages

    return call


def learn(
    segmenter: FewShotSegmenter[Any], supports: Mapping[str, Sequence[Support]]
) -> dict[str, Any]:
    """The state of each class."""
    return {name: learn_class(segmenter, members) for name, members in supports.items()}


def _decoded(
    supports: Mapping[str, Sequence[Support]], stages: dict[str, float]
) -> dict[str, list[Support]]:
    began = time.perf_counter()
    decoded = {
        name: [replace(support, image=read_image(support.path)) for support in members]
        for name, members in supports.items()
    }
    stages["read"] = time.perf_counter() - began
    return decoded
