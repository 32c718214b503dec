"""Photographs one after the other, such as the frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.segmentation import FewShotSegmenter, State

Image = NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")
StateIn = TypeVar("StateIn", contravariant=True)


@dataclass(frozen=True)
class LabelMap:
    """What a photograph shows, without probabilities.

    Attributes:
        labels: (H, W), see ``Segmentation.labels``.
        seconds: time of each part of the work.
        device: time that the GPU took, as ``Segmentation.device``.
    """

    labels: NDArray[np.uint8]
    seconds: Mapping[str, float]
    device: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Labeller(Protocol[StateIn]):
    """A segmenter that gives label maps at less cost than probabilities."""

    def label(self, images: Iterable[Image], states: Mapping[str, StateIn]) -> Iterator[LabelMap]:
        """The label map of each photograph."""
        ...


def label_maps(
    segmenter: FewShotSegmenter[State], images: Iterable[Image], states: Mapping[str, State]
) -> Iterator[LabelMap]:
    """The label map of each photograph, in the cheapest way that a segmenter has.

    It may take one photograph more than was asked for, to work on it meanwhile.
    """
    if isinstance(segmenter, Labeller):
        return segmenter.label(images, states)
    found = (segmenter.segment(image, states, parts=False) for image in images)
    return (LabelMap(one.labels(), one.seconds) for one in found)


def one_ahead(
    items: Iterable[Item], begin: Callable[[Item], Callable[[], Result]]
) -> Iterator[Result]:
    """Results in order, each waited for only when the next item has been begun.

    Args:
        items: taken one by one; if that fails, the results of those before come first.
        begin: begins the work on an item and returns what waits for its result.
    """
    before: Callable[[], Result] | None = None
    iterator = iter(items)
    while True:
        try:
            begun = begin(next(iterator))
        except StopIteration:
            break
        except Exception:
            if before is not None:
                yield before()
            raise
        if before is not None:
            yield before()
        before = begun
    if before is not None:
        yield before()
