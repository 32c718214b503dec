"""Shapes to pixels, and pixels to boxes.

Coordinates are continuous: pixel (row r, column c) covers [c, c+1) x [r, r+1) and belongs to a
shape if its centre does. A box from (2, 1) to (6, 4) therefore has 4 x 3 pixels, and two shapes
that share an edge share no pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_COMPONENT = 0.01
"""Components below this share of the largest one's area get no box of their own: specks."""


def fill_polygon(points: NDArray[Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Rasterise one polygon by the even-odd rule.

    Args:
        points: (N, 2) x, y of the corners; closed by itself.
        size: (H, W) of the picture; what lies outside is cut off.

    Returns:
        (H, W) bool.
    """
    height, width = size
    x0, y0 = np.asarray(points, np.float64).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Rows whose centre line an edge crosses, half-open so that a shared corner counts once.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    crossings = after - first
    edge = np.repeat(np.arange(len(x0)), crossings)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossings) - crossings - first, crossings)
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * slope
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    # Each crossing switches between outside and inside for the rest of its row.
    switches = np.zeros((height, width + 1), np.bool_)
    np.logical_xor.at(switches, (row, column), True)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(switches, axis=1)[:, :-1]
    return inside


def fill_box(
    x1: float, y1: float, x2: float, y2: float, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Rasterise an upright box given by any two opposite corners.

    Args:
        x1: a corner.
        y1: a corner.
        x2: the opposite corner.
        y2: the opposite corner.
        size: (H, W) of the picture; what lies outside is cut off.

    Returns:
        (H, W) bool.
    """
    mask = np.zeros(size, np.bool_)
    left, right = sorted(max(0, int(np.ceil(x - 0.5))) for x in (x1, x2))
    top, bottom = sorted(max(0, int(np.ceil(y - 0.5))) for y in (y1, y2))
    mask[top:bottom, left:right] = True
    return mask


def fill_circle(x: float, y: float, radius: float, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Rasterise a disc.

    Args:
        x: its centre.
        y: its centre.
        radius: in pixels.
        size: (H, W) of the picture; what lies outside is cut off.

    Returns:
        (H, W) bool.
    """
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside: NDArray[np.bool_] = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= radius
    return inside


def component_boxes(mask: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the tight box of every connected component (8 neighbours).

    Args:
        mask: (H, W), 1 object; any other value (255 too) is background.

    Returns:
        (N, 4) boxes x1, y1, x2, y2 in pixels, x2 and y2 exclusive, and (N,) areas in pixels of the
        components (not of the boxes), in the order of their first pixel, row by row.
    """
    # The mask as runs: row, start, end (exclusive).
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask == 1
    steps = np.diff(padded, axis=1)
    row, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    component = _connect(row, start, end, stride=mask.shape[1] + 2)
    _, component = np.unique(component, return_inverse=True)
    count = int(component.max(initial=-1)) + 1
    boxes = np.empty((count, 4), np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    boxes[:, 2:] = 0
    np.minimum.at(boxes[:, 0], component, start)
    np.minimum.at(boxes[:, 1], component, row)
    np.maximum.at(boxes[:, 2], component, end)
    np.maximum.at(boxes[:, 3], component, row + 1)
    areas = np.zeros(count, np.int64)
    np.add.at(areas, component, end - start)
    return boxes, areas


def boxes_from_mask(mask: NDArray[Any], smallest: float = SMALLEST_COMPONENT) -> NDArray[np.uint8]:
    """Replace a mask by the filled boxes of its connected components, as box labels would be.

    Args:
        mask: (H, W), 1 object. 255 counts as background and is not kept: whoever draws boxes marks
            no border. In VOC masks that border keeps touching objects apart.
        smallest: components below this share of the largest one's area are left out.

    Returns:
        (H, W) uint8, 0 or 1: the union of the boxes.
    """
    boxes, areas = component_boxes(mask)
    filled = np.zeros(mask.shape, np.uint8)
    for x1, y1, x2, y2 in boxes[areas >= smallest * areas.max(initial=0)].tolist():
        filled[y1:y2, x1:x2] = 1
    return filled


def _connect(
    row: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64], stride: int
) -> NDArray[np.int64]:
    """Give each run the index of the first run of its component."""
    # Runs are sorted, so the runs of the next row that touch a run lie between two searches.
    low = np.searchsorted(row * stride + end, (row + 1) * stride + start, side="left")
    high = np.searchsorted(row * stride + start, (row + 1) * stride + end, side="right")
    touching = np.maximum(high - low, 0)
    upper = np.repeat(np.arange(len(row)), touching)
    lower = np.arange(len(upper)) + np.repeat(low - np.cumsum(touching) + touching, touching)
    parent = np.arange(len(row))
    # Union-find over whole arrays: hook the roots of each touching pair, then shorten all paths.
    while True:
        roots_above, roots_below = parent[upper], parent[lower]
        apart = roots_above != roots_below
        if not apart.any():
            return parent
        upper, lower = upper[apart], lower[apart]
        roots_above, roots_below = roots_above[apart], roots_below[apart]
        np.minimum.at(
            parent,
            np.maximum(roots_above, roots_below),
            np.minimum(roots_above, roots_below),
        )
        while True:
            shorter = parent[parent]
            if np.array_equal(shorter, parent):
                break
            parent = shorter
