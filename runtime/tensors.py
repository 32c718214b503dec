"""What a segmenter does in NumPy around the stages: checks, masks, shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import AnnotationError, ImageError, LostObjectError


def check_image(image: Any) -> NDArray[np.uint8]:
    """Return the image if it is one photograph, (H, W, 3) uint8.

    Raises:
        ImageError: if it is not.
    """
    if not isinstance(image, np.ndarray):
        raise no_image(type(image).__name__)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise no_image(f"an array {image.dtype} {image.shape}")
    return image


def no_image(found: str) -> ImageError:
    """Build the error for what is no photograph."""
    return ImageError(
        f"a photograph is an array uint8 (height, width, 3), RGB; this is {found}",
        "Read it with arnet.runtime.images.read_image; give several as a list.",
    )


def check_supports(images: Sequence[Any], masks: Sequence[Any], side: int) -> None:
    """Check what a class is to be learned from.

    Args:
        images: the photographs.
        masks: the object in each.
        side: of the square, in pixels, that the model sees of them.

    Raises:
        AnnotationError: an image and its mask differ in size, nothing was given, or a mask has no
            object, none that is left at that size (LostObjectError).
        ImageError: an image is of another type or shape.
    """
    if not len(images) or len(images) != len(masks):
        raise AnnotationError(
            f"{len(images)} images and {len(masks)} masks were given",
            "give one mask for each image, and at least one of both",
        )
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        check_image(image)
        if not isinstance(mask, np.ndarray) or mask.dtype not in (np.uint8, np.bool_):
            found = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise AnnotationError(
                f"a mask is an array uint8 (height, width); this is {found}",
                "Read it with arnet.runtime.supports.read_supports.",
            )
        if image.shape[:2] != mask.shape:
            raise AnnotationError(
                f"an image of {image.shape[1]}x{image.shape[0]} pixels has a mask of "
                + "x".join(str(length) for length in mask.shape[::-1])
            )
        if not resize_nearest(mask == 1, side).any():
            raise _lost(mask, side, number, len(masks))


def _lost(mask: NDArray[Any], side: int, number: int, count: int) -> LostObjectError:
    """Build the error for a mask of which the model would see nothing, and learn nothing."""
    rows, columns = (np.flatnonzero((mask == 1).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return LostObjectError(
            "no pixel of its mask is 1, the object",
            "Mark the object. Beside 1, 255 means unknown: of a mask of 0 and 255 give"
            " (mask == 255), or read it with arnet.runtime.supports.read_supports.",
            number,
            count,
        )
    height, width = (int(found[-1] - found[0]) + 1 for found in (rows, columns))
    return LostObjectError(
        f"its object of {width}x{height} pixels, in {mask.shape[1]}x{mask.shape[0]}, vanishes at"
        f" the {side}x{side} that the model sees",
        "Cut the photograph and its mask out around the object, so that it fills more of them.",
        number,
        count,
    )


def resize_nearest(mask: NDArray[np.generic], side: int) -> NDArray[np.generic]:
    """Resize (H, W) to a square by the nearest pixel centre: row floor((i + 0.5) * H / side)."""
    rows, columns = (
        (2 * np.arange(side) + 1) * length // (2 * side) for length in mask.shape
    )  # in whole numbers, so that nothing is rounded
    return mask[rows[:, None], columns]


def shares(shots: Sequence[int]) -> NDArray[np.float32]:
    """Which shots belong to which class, and how much each of them counts.

    Args:
        shots: k of each class.

    Returns:
        (N, T): 1/k where shot t belongs to class n, else 0.
    """
    found = np.zeros((len(shots), sum(shots)), np.float32)
    start = 0
    for row, count in zip(found, shots, strict=True):
        row[start : start + count] = 1 / count
        start += count
    return found


def sigmoid(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of margins, without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * margins)


def concatenated(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Join along the first axis; a single array is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
