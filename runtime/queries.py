"""Whole queries, for engines that run them as one: begun now, answered later."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.engines import QueryEngine
from arnet.runtime.segmentation import ClassMasks, Segmentation
from arnet.runtime.state import SupportState
from arnet.runtime.streams import LabelMap
from arnet.runtime.tensors import check_image

Image = NDArray[np.uint8]
Calls = Sequence[Mapping[str, Any]]
Timed = TypeVar("Timed")


@dataclass(frozen=True)
class Queries:
    """Queries to an engine. Times are those of the host: to begin, and to wait for the answer."""

    engine: QueryEngine

    def segmentation(
        self, image: Image, states: Mapping[str, SupportState], calls: Calls
    ) -> Callable[[], Segmentation]:
        """Begin; what is returned waits for the answer."""
        pending, seconds = _timed(lambda: self.engine.start(check_image(image), calls))

        def finish() -> Segmentation:
            answer, waited = _timed(pending)
            return Segmentation(
                by_class(answer.maps, states),
                {"start": seconds, "wait": waited},
                {**answer.device, "enqueue": seconds},
            )

        return finish

    def label_map(self, image: Image, calls: Calls) -> Callable[[], LabelMap]:
        """Likewise for the map of labels alone."""
        pending, seconds = _timed(lambda: self.engine.start(check_image(image), calls, True))

        def finish() -> LabelMap:
            answer, waited = _timed(pending)
            return LabelMap(
                answer.maps["labels"][0],
                {"start": seconds, "wait": waited},
                {**answer.device, "enqueue": seconds},
            )

        return finish


def by_class(
    masks: Mapping[str, Sequence[NDArray[np.float32]]], states: Mapping[str, SupportState]
) -> dict[str, ClassMasks]:
    """The maps that ``decode`` gave, class by class and shot by shot, under the classes' names."""
    classes = {}
    shot = 0
    for number, (name, state) in enumerate(states.items()):
        end = shot + state.shots
        classes[name] = ClassMasks(
            masks["margins"][number],
            masks["first"][number] if "first" in masks else None,
            np.stack(masks["supports"][shot:end]) if "supports" in masks else None,
        )
        shot = end
    return classes


def _timed(work: Callable[[], Timed]) -> tuple[Timed, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started
