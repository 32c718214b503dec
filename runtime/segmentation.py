"""What a segmenter is and what it answers, whatever computes it: torch now, an engine later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import AnnotationError

THRESHOLD = 0.5
"""Foreground probability above which a pixel belongs to a class."""

MOST_CLASSES = 254
"""What fits into the 8 bits of a label map: 0 is the background, 255 means unknown."""

State = TypeVar("State")


@dataclass(frozen=True)
class ClassMasks:
    """The three masks of one class, as foreground probabilities from 0 to 1, float32.

    Attributes:
        probability: q2, the result, at the query's size (H, W).
        first: q1, averaged over the supports, at the query's size (H, W); None without MPM1, or
            where it was not asked for.
        supports: s, each support as the query re-predicts it, at feature size (k, h, w); None
            without MPM2, or where it was not asked for.
    """

    probability: NDArray[np.float32]
    first: NDArray[np.float32] | None
    supports: NDArray[np.float32] | None

    def __repr__(self) -> str:
        """What there is, without the values."""
        maps = {"probability": self.probability, "first": self.first, "supports": self.supports}
        forms = (
            f"{name} {tuple(array.shape)}" for name, array in maps.items() if array is not None
        )
        return f"ClassMasks({', '.join(forms)})"


@dataclass(frozen=True)
class Segmentation:
    """The answer to one query.

    Attributes:
        classes: the masks of each class, in the order the states were given.
        seconds: time of each part of the work.
        device: where a GPU worked, the seconds of each part by its own clock, and "enqueue", those
            of the host until all was enqueued. They lie within ``seconds``.
    """

    classes: dict[str, ClassMasks]
    seconds: dict[str, float]
    device: dict[str, float] = field(default_factory=dict)

    def labels(self) -> NDArray[np.uint8]:
        """The label map (H, W): 0 background, i + 1 the i-th class.

        A pixel belongs to the class that is surest of it, if that is surer than ``THRESHOLD``.

        Raises:
            AnnotationError: a label map cannot hold so many classes.
        """
        check_classes(self.classes)
        first, *others = (masks.probability for masks in self.classes.values())
        labels = (first > THRESHOLD).astype(np.uint8)
        surest = np.maximum(first, THRESHOLD) if others else first
        for number, probability in enumerate(others, start=2):
            labels[probability > surest] = number
            np.maximum(surest, probability, out=surest)
        return labels


def check_classes(classes: Sized) -> None:
    """Check that a label map can hold the classes.

    Raises:
        AnnotationError: there is none, or there are too many.
    """
    if not 0 < len(classes) <= MOST_CLASSES:
        raise AnnotationError(
            f"{len(classes)} classes were given; a label map holds 1 to {MOST_CLASSES}.",
            "Choose those that are meant, such as --label cat --label dog.",
        )


class FewShotSegmenter(Protocol[State]):
    """Learns classes from a few photographs and finds them in others."""

    def learn(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> State:
        """Learn one class.

        Args:
            images: k photographs, RGB (H, W, 3), each of any size.
            masks: the object in each, (H, W): 0, 1, or 255 for unknown; a box is a filled mask.

        Raises:
            AnnotationError: LostObjectError where the model would see nothing of an object.
        """
        ...

    def segment(
        self, image: NDArray[np.uint8], states: Mapping[str, State], *, parts: bool = True
    ) -> Segmentation:
        """Find every class in one photograph, RGB (H, W, 3), of any size.

        Args:
            image: the photograph.
            states: by class name.
            parts: whether q1 and s are wanted beside q2; without, they may be None, which saves
                the time to bring q1 to the photograph's size.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What it is, for results.json: kind, name, sha256, device.

        "fused_shots", if there, is the number of shots, the last ones, that are fused into one
        vector; None for all.
        """
        ...
