"""labelme JSON: ``shapes`` with a ``label``, a ``shape_type`` and ``points``."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arnet.runtime.annotations.common import (
    Annotation,
    Kind,
    check_size,
    merge,
    no_area,
    points_of,
    polygon_points,
)
from arnet.runtime.annotations.shapes import fill_box, fill_circle, fill_polygon
from arnet.runtime.errors import AnnotationError
from arnet.runtime.images import mask_values

IGNORED = "__ignore__"
"""labelme's own name for pixels that count neither as object nor as background."""

BACKGROUND = "_background_"
"""labelme's own name for what belongs to no object; painted over one, it is a hole."""

_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def parse_labelme(data: dict[str, Any], path: Path, size: tuple[int, int]) -> list[Annotation]:
    """Rasterise the shapes of a labelme file.

    Labels are independent of each other: a horse keeps the pixels of its head, where labelme's own
    scripts give them to the label that is painted last. ``_background_`` cuts a hole into all that
    was painted before it, as there.

    Args:
        data: the parsed JSON.
        path: its file, for errors.
        size: (H, W) of the picture, upright.

    Returns:
        One annotation per label; a rectangle makes it a "box". Shapes called ``__ignore__`` are 255
        in every label, and ``_background_`` is none.

    Raises:
        AnnotationError: for points and lines, unknown shapes, wrong sizes, malformed entries.
    """
    check_size(path, data.get("imageWidth"), data.get("imageHeight"), size)
    shapes: list[Annotation] = []
    for shape in _shapes(data["shapes"], path, size):
        if shape.label != BACKGROUND:
            shapes.append(shape)
            continue
        for earlier in shapes:
            earlier.mask[shape.mask == 1] = 0
    ignored = [shape for shape in shapes if shape.label == IGNORED]
    annotations = merge(shape for shape in shapes if shape.label != IGNORED)
    for annotation in annotations:
        for shape in ignored:
            annotation.mask[(shape.mask == 1) & (annotation.mask == 0)] = 255
    return annotations


def _shapes(shapes: Any, path: Path, size: tuple[int, int]) -> Iterator[Annotation]:
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise AnnotationError(f"{path}: 'shapes' is not a list of shapes.", "Save it again.")
    for shape in shapes:
        # Files from before labelme 3 have no shape_type.
        shape_type = shape.get("shape_type") or "polygon"
        if shape_type in _WITHOUT_AREA:
            raise no_area(path, shape_type)
        mask = _rasterise(shape, shape_type, path, size)
        kind: Kind = "box" if shape_type == "rectangle" else "mask"
        label = shape.get("label")
        yield Annotation(str(label) if label else None, mask.astype(np.uint8), kind)


def _rasterise(
    shape: dict[str, Any], shape_type: str, path: Path, size: tuple[int, int]
) -> NDArray[np.bool_]:
    points = shape.get("points")
    if shape_type == "polygon":
        return fill_polygon(polygon_points(points, path), size)
    if shape_type == "oriented_rectangle":
        return fill_polygon(points_of(points, 4, path, shape_type), size)
    if shape_type == "rectangle":
        (x1, y1), (x2, y2) = points_of(points, 2, path, shape_type)
        return fill_box(x1, y1, x2, y2, size)
    if shape_type == "circle":  # its centre and a point on its edge
        (x, y), on_edge = points_of(points, 2, path, shape_type)
        return fill_circle(x, y, float(np.hypot(on_edge[0] - x, on_edge[1] - y)), size)
    if shape_type == "mask":
        return _paste(shape, path, size)
    raise AnnotationError(
        f"{path}: unknown shape type '{shape_type}'.",
        "Known: polygon, rectangle, circle, oriented_rectangle, mask.",
    )


def _paste(shape: dict[str, Any], path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Place a mask shape: a base64 PNG whose corner pixels are the two points, both inclusive."""
    points = points_of(shape.get("points"), 2, path, "mask")
    (x1, y1), (x2, y2) = np.rint(points).astype(int)
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            patch = mask_values(image, f"{path}: a mask shape") > 0
    except AnnotationError:
        raise
    except Exception as error:  # as for files, decoders raise anything
        raise AnnotationError(
            f"{path}: the picture of a mask shape cannot be decoded.", "Draw it again."
        ) from error
    if np.any(points != np.rint(points)):
        # Each corner is rounded by itself, as labelme does; only the patch knows its size.
        x2, y2 = x1 + patch.shape[1] - 1, y1 + patch.shape[0] - 1
    if patch.shape != (y2 - y1 + 1, x2 - x1 + 1):
        raise AnnotationError(
            f"{path}: a mask shape has {patch.shape[1]}x{patch.shape[0]} pixels and a box for"
            f" {x2 - x1 + 1}x{y2 - y1 + 1}.",
            "Draw it again.",
        )
    mask = np.zeros(size, np.bool_)
    top, left = max(y1, 0), max(x1, 0)
    target = mask[top : max(y2 + 1, 0), left : max(x2 + 1, 0)]
    target[:] = patch[top - y1 :, left - x1 :][: target.shape[0], : target.shape[1]]
    return mask
