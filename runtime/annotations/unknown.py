"""Whether 255 in a mask means unknown, or the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.decoding import opened
from arnet.runtime.errors import AnnotationError

MOST_UNNAMED = 20
"""Pascal VOC's largest value: a larger one beside 255, and without a name, is no label."""


def check_unknown(path: Path, values: NDArray[np.uint8], label: int, folder: Path) -> None:
    """Check that 255 can mean unknown beside one label without a name.

    In a trimap, or where one pixel of a black-and-white mask is 254, it is the object, which would
    be ignored without a word. Pascal VOC has at most 20, and thin borders; those of a small object
    may be larger than itself, but then the mask has VOC's palette.

    Raises:
        AnnotationError: it is more likely the object.
    """
    marked, unknown = (int(np.count_nonzero(values == value)) for value in (label, 255))
    if label <= MOST_UNNAMED and (unknown <= marked or _has_palette(path)):
        return
    raise AnnotationError(
        f"{path} has {marked} pixels of {label} and {unknown} of 255: a soft edge or a trimap, or"
        f" the label {label} with unknown pixels.",
        "Save the mask with 0 and 255 only. If 255 does mean unknown, add a classes.txt to"
        f" {folder} that names the values from 1 to {label}, one in a line.",
    )


def _has_palette(path: Path) -> bool:
    with opened(path, decode=False) as image:
        return image.mode in ("P", "PA")
