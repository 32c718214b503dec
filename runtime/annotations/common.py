"""What all annotation parsers share: the annotation itself, merging, and checked input."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import AnnotationError, SizeMismatchError

Kind = Literal["mask", "box"]

IGNORE = 255
"""Value of pixels that belong to no class and are neither trained on nor scored."""


@dataclass(frozen=True)
class Annotation:
    """What a file says about one label in one picture.

    Attributes:
        label: its name, None if the file names none.
        mask: (H, W) uint8, 0 background, 1 object, 255 ignored; boxes are filled.
        kind: "box" if any part of it was only a box.
        shapes: how many shapes were united.
        crowds: how many crowd regions are ignored pixels, which are no shapes.
    """

    label: str | None
    mask: NDArray[np.uint8]
    kind: Kind
    shapes: int = 1
    crowds: int = 0


def merge(shapes: Iterable[Annotation]) -> list[Annotation]:
    """Unite the shapes of each label; an object pixel wins over an ignored one.

    Args:
        shapes: annotations of one picture, any number per label.

    Returns:
        One annotation per label, in the order of first appearance.
    """
    merged: dict[str | None, Annotation] = {}
    for shape in shapes:
        so_far = merged.get(shape.label)
        if so_far is None:
            merged[shape.label] = shape
            continue
        mask = np.where(so_far.mask == 0, shape.mask, so_far.mask)
        mask[shape.mask == 1] = 1
        kind: Kind = "box" if "box" in (so_far.kind, shape.kind) else "mask"
        merged[shape.label] = Annotation(
            shape.label, mask, kind, so_far.shapes + shape.shapes, so_far.crowds + shape.crowds
        )
    return list(merged.values())


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        AnnotationError: if it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path} is not readable JSON ({error}).", "Export the annotations again."
        ) from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file.

    Raises:
        AnnotationError: if it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read ({error}).", "Save it as UTF-8.") from error


def coordinates(values: Any, path: Path, what: str) -> NDArray[np.float64]:
    """Turn a list of numbers or of points into (N, 2) x, y.

    Raises:
        AnnotationError: if it is anything else than finite numbers in pairs.
    """
    try:
        points = np.asarray(values, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path}: the coordinates of a {what} are not pairs of numbers.",
            "Export the annotations again.",
        ) from error
    if not np.isfinite(points).all():
        raise AnnotationError(
            f"{path}: a coordinate of a {what} is not finite.", "Export the annotations again."
        )
    return points


def points_of(values: Any, count: int, path: Path, what: str) -> NDArray[np.float64]:
    """As :func:`coordinates`, with exactly ``count`` points.

    Raises:
        AnnotationError: if there are fewer or more.
    """
    points = coordinates(values, path, what)
    if len(points) != count:
        raise AnnotationError(
            f"{path}: a {what} has {len(points)} points; it needs {count}.", "Draw it again."
        )
    return points


def polygon_points(values: Any, path: Path) -> NDArray[np.float64]:
    """As :func:`coordinates`, with at least three points.

    Raises:
        AnnotationError: if there are fewer.
    """
    points = coordinates(values, path, "polygon")
    if len(points) < 3:
        raise AnnotationError(
            f"{path}: a polygon has {len(points)} points; it needs at least 3.", "Draw it again."
        )
    return points


def check_size(path: Path, width: Any, height: Any, size: tuple[int, int]) -> None:
    """Compare the picture size that a file states, if it does, with the picture's.

    Args:
        path: the annotation file, for the error.
        width: stated width; None or 0 if unknown.
        height: stated height; None or 0 if unknown.
        size: (H, W) of the picture, upright.

    Raises:
        AnnotationError: if they differ.
    """
    try:
        stated = (int(height or 0), int(width or 0))
    except (TypeError, ValueError, OverflowError):
        stated = (0, 0)
    if all(stated) and stated != size:
        raise size_mismatch(path, stated, size)


def size_mismatch(path: Path, found: tuple[int, int], size: tuple[int, int]) -> SizeMismatchError:
    """Build the error for an annotation of another size than its picture, both (H, W)."""
    hint = "Annotate the picture that is in the folder, at its own size."
    swapped = found == size[::-1]
    if swapped:
        hint = "Turn the one or the other by a quarter, so that they lie over each other."
    return SizeMismatchError(
        f"{path} is for a picture of {found[1]}x{found[0]} pixels; the picture has"
        f" {size[1]}x{size[0]}.",
        hint,
        swapped,
    )


def no_area(path: Path, shape: str) -> AnnotationError:
    """Build the error for points and lines."""
    return AnnotationError(
        f"{path}: a {shape} has no area, so it cannot be a support annotation.",
        "Draw a polygon or a box around the object, or delete the shape.",
    )
