"""Shapes to pixels by hand, and boxes from masks against a plain flood fill."""

import time

import numpy as np
import pytest

from arnet.runtime.annotations import boxes_from_mask, component_boxes
from arnet.runtime.annotations.shapes import fill_box, fill_circle, fill_polygon


def rows(mask):
    return ["".join(".#"[int(value)] for value in row) for row in mask]


def parse(*text):
    return np.array([[".#?".index(c) for c in line] for line in text], np.uint8)


def test_polygon_pixels_are_those_whose_centre_is_inside():
    square = np.array([(1, 1), (4, 1), (4, 3), (1, 3)])
    assert rows(fill_polygon(square, (4, 5))) == [".....", ".###.", ".###.", "....."]
    # The diagonal from (0, 0) to (4, 4); the centres on it belong to the shape on its right.
    lower = np.array([(0, 0), (4, 4), (0, 4)])
    upper = np.array([(0, 0), (4, 0), (4, 4)])
    assert rows(fill_polygon(lower, (4, 4))) == ["....", "#...", "##..", "###."]
    assert rows(fill_polygon(upper, (4, 4))) == ["####", ".###", "..##", "...#"]


def test_polygon_concave_and_crossing():
    notch = np.array([(0, 0), (5, 0), (5, 3), (3, 3), (3, 1), (2, 1), (2, 3), (0, 3)])
    assert rows(fill_polygon(notch, (3, 5))) == ["#####", "##.##", "##.##"]
    twice_around = np.array([(0, 0), (3, 0), (3, 3), (0, 3)] * 2)
    assert not fill_polygon(twice_around, (3, 3)).any()  # even-odd


def test_shapes_are_cut_off_at_the_border():
    huge = np.array([(-1e6, -50.0), (1e6, -50.0), (1e6, 2.0), (-1e6, 2.0)])
    assert rows(fill_polygon(huge, (3, 3))) == ["###", "###", "..."]
    assert not fill_polygon(huge + np.array([0, 99]), (3, 3)).any()
    assert rows(fill_box(-5, 1, 2, 99, (3, 3))) == ["...", "##.", "##."]
    assert not fill_box(-5, -5, -1, -1, (3, 3)).any()


def test_box_takes_corners_in_any_order():
    assert rows(fill_box(4, 2, 1, 0.6, (3, 5))) == [".....", ".###.", "....."]


def test_circle():
    assert rows(fill_circle(2, 2, 1.6, (4, 4))) == [".##.", "####", "####", ".##."]
    assert fill_circle(2, 2, 1e200, (4, 4)).all()  # its square would be no number
    assert not fill_circle(1e200, 2, 3, (4, 4)).any()


def test_polygon_area_is_close_to_its_true_area():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    points = np.stack([100 + 80 * np.cos(angle), 90 + 60 * np.sin(angle)], axis=1)
    assert fill_polygon(points, (200, 220)).sum() == pytest.approx(np.pi * 80 * 60, rel=2e-3)
    assert fill_polygon(points + 1, (200, 220)).sum() == fill_polygon(points, (200, 220)).sum()


def test_component_boxes():
    mask = parse(
        "##...#",
        "#...#.",
        "......",
        "..#.?.",
    )
    mask[mask == 2] = 255
    boxes, areas = component_boxes(mask)
    # Diagonal neighbours connect (the second one); 255 is background.
    assert boxes.tolist() == [[0, 0, 2, 2], [4, 0, 6, 2], [2, 3, 3, 4]]
    assert areas.tolist() == [3, 2, 1]
    assert rows(boxes_from_mask(mask)) == ["##..##", "##..##", "......", "..#..."]


def test_specks_get_no_box():
    mask = np.zeros((50, 50), np.uint8)
    mask[10:30, 10:30] = 1  # 400 pixels
    mask[10, 10] = 0
    mask[0, 0:3] = 1  # below 1 %
    mask[45, 0:4] = 1  # 4 of 399: above
    expected = np.zeros_like(mask)
    expected[10:30, 10:30] = expected[45, 0:4] = 1
    np.testing.assert_array_equal(boxes_from_mask(mask), expected)
    expected[0, 0:3] = 1
    np.testing.assert_array_equal(boxes_from_mask(mask, smallest=0), expected)


def test_empty_and_full():
    assert not boxes_from_mask(np.zeros((4, 5), np.uint8)).any()
    assert boxes_from_mask(np.ones((4, 5), np.uint8)).all()
    assert boxes_from_mask(np.ones((1, 1), np.uint8)).tolist() == [[1]]


def flood_boxes(mask):
    """The slow and obvious way."""
    todo = set(zip(*np.nonzero(mask), strict=True))
    boxes = []
    while todo:
        stack = [todo.pop()]
        component = []
        while stack:
            r, c = stack.pop()
            component.append((r, c))
            around = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & todo
            todo -= around
            stack.extend(around)
        points = np.array(component)
        (y1, x1), (y2, x2) = points.min(0), points.max(0) + 1
        boxes.append(([x1, y1, x2, y2], len(component)))
    return sorted(boxes, key=str)


def spiral(size):
    mask = np.zeros((size, size), np.uint8)
    for i in range(0, size // 2, 2):
        mask[i : size - i, i : size - i] = 1
        mask[i + 1 : size - i - 1, i + 1 : size - i - 1] = 0
        mask[i + 1, i] = 0
        if i:
            mask[i, i - 1] = 1
    return mask


@pytest.mark.parametrize("density", [0.1, 0.3, 0.4, 0.5, 0.8])
def test_components_against_flood_fill(density):
    mask = (np.random.default_rng(7).random((40, 33)) < density).astype(np.uint8)
    boxes, areas = component_boxes(mask)
    ours = [(box, area) for box, area in zip(boxes.tolist(), areas.tolist(), strict=True)]
    expected = [([int(v) for v in box], area) for box, area in flood_boxes(mask)]
    assert sorted(ours, key=str) == sorted(expected, key=str)
    assert len(ours) != len(flood_boxes(1 - mask))  # the comparison can tell masks apart


def test_speed():
    noise = (np.random.default_rng(0).random((400, 400)) < 0.4).astype(np.uint8)
    for mask in (noise, spiral(400)):
        best = min(_timed(mask) for _ in range(5))
        assert best < 0.1  # about 10 ms; slack for busy machines


def _timed(mask):
    start = time.perf_counter()
    boxes_from_mask(mask)
    return time.perf_counter() - start
