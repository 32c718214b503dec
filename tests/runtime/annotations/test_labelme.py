"""labelme: its shapes, pixel by pixel, and its own names for holes and unknown pixels."""

import numpy as np
import pytest
from annotation_files import SQUARE, SQUARE_ROWS, labelme, parse, png, rows, shape

from arnet.runtime.errors import AnnotationError


@pytest.mark.parametrize(
    ("item", "expected", "kind"),
    [
        (shape("polygon", SQUARE), SQUARE_ROWS, "mask"),
        (shape("oriented_rectangle", SQUARE), SQUARE_ROWS, "mask"),
        (shape("rectangle", [[4, 3], [1, 1]]), SQUARE_ROWS, "box"),
        (shape("circle", [[2, 2], [3.6, 2]]), [".##...", "####..", "####..", ".##..."], "mask"),
        (
            shape("mask", [[1, 1], [3, 2]], mask=png(np.array([[1, 0, 1], [1, 1, 1]], np.uint8))),
            ["......", ".#.#..", ".###..", "......"],
            "mask",
        ),
        (
            shape("mask", [[5, -1], [6, 0]], mask=png(np.array([[0, 0], [255, 255]], np.uint8))),
            [".....#", "......", "......", "......"],
            "mask",
        ),
        # Moved by parts of a pixel: rounded, the corners are not the patch's size apart.
        (
            shape("mask", [[0.6, 1.4], [2.4, 2.6]], mask=png(np.ones((2, 3), np.uint8))),
            SQUARE_ROWS,
            "mask",
        ),
        (
            shape("mask", [[4.5, 0.5], [6.5, 3.5]], mask=png(np.ones((2, 3), np.uint8))),
            ["....##", "....##", "......", "......"],
            "mask",
        ),
    ],
)
def test_labelme_shapes(tmp_path, item, expected, kind):
    form, [annotation] = parse(tmp_path, labelme(item))
    assert form == "labelme"
    assert rows(annotation.mask) == expected
    assert (annotation.label, annotation.kind, annotation.shapes) == ("cat", kind, 1)


def test_labelme_without_shape_type_is_a_polygon(tmp_path):
    _, [annotation] = parse(tmp_path, labelme({"label": "cat", "points": SQUARE}))
    assert rows(annotation.mask) == SQUARE_ROWS


def test_labelme_merges_per_label(tmp_path):
    data = labelme(
        shape("polygon", SQUARE),
        shape("rectangle", [[0, 0], [1, 1]], label="dog"),
        shape("rectangle", [[5, 3], [6, 4]]),
        shape("rectangle", [[0, 2], [6, 3]], label="__ignore__"),
    )
    _, [cat, dog] = parse(tmp_path, data)
    assert rows(cat.mask) == ["......", ".###..", "?###??", ".....#"]
    assert (cat.kind, cat.shapes) == ("box", 2)
    assert rows(dog.mask) == ["#.....", "......", "??????", "......"]


def test_the_background_of_labelme_cuts_a_hole_into_what_was_painted_before(tmp_path):
    data = labelme(
        shape("polygon", SQUARE),
        shape("rectangle", [[0, 0], [2, 2]], label="dog"),
        shape("rectangle", [[0, 3], [6, 4]], label="__ignore__"),
        shape("rectangle", [[1, 0], [3, 4]], label="_background_"),
        shape("rectangle", [[2, 1], [3, 2]]),
    )
    _, [cat, dog] = parse(tmp_path, data)
    assert rows(cat.mask) == ["......", "..##..", "...#..", "?..???"]
    assert rows(dog.mask) == ["#.....", "#.....", "......", "?..???"]
    hole = shape("polygon", SQUARE, label="_background_")
    assert parse(tmp_path, labelme(hole)) == ("labelme", [])
    _, [cat] = parse(tmp_path, labelme(hole, shape("polygon", SQUARE)))
    assert rows(cat.mask) == SQUARE_ROWS


def test_the_labels_of_labelme_may_overlap(tmp_path):
    head = shape("rectangle", [[3, 1], [4, 3]], label="head")
    _, [horse, part] = parse(tmp_path, labelme(shape("polygon", SQUARE, label="horse"), head))
    assert rows(horse.mask) == SQUARE_ROWS
    assert rows(part.mask) == ["......", "...#..", "...#..", "......"]


@pytest.mark.parametrize("shape_type", ["point", "line", "linestrip", "points"])
def test_labelme_shapes_without_area(tmp_path, shape_type):
    with pytest.raises(AnnotationError, match=f"a {shape_type} has no area"):
        parse(tmp_path, labelme(shape(shape_type, [[1, 1]])))
