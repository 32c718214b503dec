"""COCO run-length encoding: the lengths of the runs of 0 and 1 down the columns of a mask.

The text form writes each length, from the fourth on, as the difference to the length two before
it; in groups of 5 bits, lowest first, the sign taken from the last group, the sixth bit saying
that more follow, plus 48 to make a printable character.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.decoding import MAX_PIXELS
from arnet.runtime.errors import AnnotationError

_LONGEST = 13
"""Characters of the longest length, of 64 bits."""


def encode_rle(mask: NDArray[Any]) -> dict[str, Any]:
    """Encode a mask as compressed COCO RLE, as pycocotools does.

    Args:
        mask: (H, W); every non-zero pixel is object. Pass ``mask == 1`` where 255 means ignored.

    Returns:
        ``{"size": [H, W], "counts": text}``.
    """
    height, width = mask.shape
    pixels = (mask != 0).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    ends = np.concatenate(([0], changes, [pixels.size]))
    lengths = np.diff(ends).tolist()
    if pixels.size and pixels[0]:
        lengths.insert(0, 0)  # the first run is of zeros, be it empty
    return {"size": [height, width], "counts": _to_text(lengths)}


def decode_rle(rle: dict[str, Any]) -> NDArray[np.uint8]:
    """Decode COCO RLE, compressed (text) or not (list of lengths).

    Args:
        rle: ``{"size": [H, W], "counts": text | list of int}``, at most 250 million pixels.

    Returns:
        (H, W) uint8, 0 or 1.

    Raises:
        AnnotationError: if the encoding is malformed or does not fill the size.
    """
    try:
        height, width = (int(length) for length in rle["size"])
        if min(height, width) < 0 or height * width > MAX_PIXELS:
            raise ValueError(f"no picture has this size; at most {MAX_PIXELS} pixels are read")
        counts = rle["counts"]
        if isinstance(counts, bytes):
            counts = counts.decode("ascii")
        lengths = _from_text(counts) if isinstance(counts, str) else [int(n) for n in counts]
        if not all(0 <= length <= height * width for length in lengths):
            raise ValueError("a length is negative or goes beyond the picture")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise AnnotationError(
            f"A run-length encoding is malformed ({type(error).__name__}: {error}).",
            'It needs the form {"size": [height, width], "counts": text or list of lengths}.',
        ) from error
    if sum(lengths) != height * width:
        raise AnnotationError(
            f"A run-length encoding covers {sum(lengths)} pixels; its size {width}x{height} needs"
            f" {height * width}.",
            "Export the annotations again.",
        )
    values = np.arange(len(lengths), dtype=np.uint8) & 1
    return np.repeat(values, lengths).reshape((height, width), order="F").copy(order="C")


def _to_text(lengths: list[int]) -> str:
    characters = []
    for i, length in enumerate(lengths):
        rest = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            group = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if group & 0x10 else 0)
            characters.append(chr(group + 0x20 * more + 48))
    return "".join(characters)


def _from_text(text: str) -> list[int]:
    lengths: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if shift == 5 * _LONGEST:
                raise ValueError("a length does not end")
            group = ord(text[position]) - 48
            value |= (group & 0x1F) << shift
            shift += 5
            more = bool(group & 0x20)
            position += 1
        if group & 0x10:
            value -= 1 << shift
        if len(lengths) > 2:
            value += lengths[-2]
        lengths.append(value)
    return lengths
