"""YOLO text labels: a line for each object, in shares of the picture's width and height."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from arnet.runtime.annotations.common import Annotation, merge, read_lines
from arnet.runtime.annotations.shapes import fill_box, fill_polygon
from arnet.runtime.errors import AnnotationError

_BEYOND = 0.01
"""How far a rounded coordinate may lie outside the picture, as a share of its side."""


def parse_yolo(path: Path, names: Sequence[str], size: tuple[int, int]) -> list[Annotation]:
    """Rasterise YOLO labels: ``class x y x y ...``, a polygon, or ``class cx cy w h``, a box.

    Args:
        path: the text file.
        names: of the classes, from number 0 on; none where they are not known.
        size: (H, W) of the picture, upright.

    Returns:
        One annotation per label, which is the number where there are no names; a box makes it a
        "box".

    Raises:
        AnnotationError: if it cannot be read, or with the number of the line that is malformed.
    """
    return merge(_objects(path, names, size))


def read_class_list(path: Path) -> list[str]:
    """Read ``classes.txt`` or ``obj.names``: the name of class 0, of class 1, and so on.

    Raises:
        AnnotationError: if it cannot be read.
    """
    return [line.strip() for line in read_lines(path)]


def _objects(path: Path, names: Sequence[str], size: tuple[int, int]) -> Iterator[Annotation]:
    height, width = size
    for number, line in enumerate(read_lines(path), start=1):
        if not (fields := line.split()):
            continue
        try:
            label = _label(fields[0], names)
            values = [float(field) for field in fields[1:]]
            if len(values) < 4 or len(values) % 2:
                raise ValueError(f"{len(values)} coordinates")
            if not all(-_BEYOND <= value <= 1 + _BEYOND for value in values):
                raise ValueError("a coordinate is not between 0 and 1")
        except ValueError as error:
            raise AnnotationError(
                f"{path}, line {number} is no YOLO label: {error}.",
                "A line is the number of a class and x y x y ... (a polygon) or x y width height"
                " (a box and its centre), as shares of the picture from 0 to 1.",
            ) from error
        points = np.reshape(values, (-1, 2)) * (width, height)
        if len(points) > 2:
            yield Annotation(label, fill_polygon(points, size).astype(np.uint8), "mask")
        else:
            (x, y), (w, h) = points.tolist()
            box = fill_box(x - w / 2, y - h / 2, x + w / 2, y + h / 2, size)
            yield Annotation(label, box.astype(np.uint8), "box")


def _label(number: str, names: Sequence[str]) -> str:
    if not number.isdecimal():
        raise ValueError(f"'{number[:20]}' is not the number of a class")
    index = int(number)
    if not names:
        return str(index)
    if index >= len(names) or not names[index]:
        raise ValueError(f"class {index} has no name, of {len(names)} from 0 on")
    return names[index]
