"""What is drawn where: tint, contour, legend."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from arnet.runtime.outputs.drawing import (
    class_colour,
    draw_support,
    label_overlay,
    outline_boxes,
    overlay,
    voc_palette,
)
from arnet.runtime.supports import Support

GREY = np.full((40, 60, 3), 100, np.uint8)
MASK = np.zeros((40, 60), np.uint8)
MASK[10:30, 20:50] = 1
WHITE = [255, 255, 255]


def test_voc_palette():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    # The colours that the data set gives for background, aeroplane, bicycle, bird, cat, monitor
    # and the border.
    assert palette[[0, 1, 2, 3, 8, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [64, 0, 0],
        [0, 64, 128],
        [224, 224, 192],
    ]


def test_overlay_tints_inside_and_draws_the_contour():
    drawn = overlay(GREY, MASK, colour=(200, 0, 0), alpha=0.25)
    assert drawn[20, 35].tolist() == [125, 75, 75]
    assert drawn[10, 35].tolist() == [200, 0, 0]  # just inside
    assert drawn[9, 35].tolist() == WHITE  # just outside
    assert drawn[7, 35].tolist() == [100, 100, 100]
    assert GREY.min() == GREY.max() == 100  # the input is left alone


def test_ignored_pixels_are_not_painted():
    ignored = np.where(MASK == 1, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(overlay(GREY, ignored), GREY)


def test_a_mask_at_the_border_and_an_empty_one():
    assert (overlay(GREY, np.ones((40, 60), bool)) != 100).any(axis=2).all()
    np.testing.assert_array_equal(overlay(GREY, np.zeros((40, 60))), GREY)
    assert overlay(GREY[:1, :1], np.ones((1, 1))).shape == (1, 1, 3)


def test_the_contour_grows_with_the_picture():
    large = np.full((400, 600, 3), 100, np.uint8)
    drawn = overlay(large, np.kron(MASK, np.ones((10, 10))))
    assert (drawn[:, 350] == WHITE).all(axis=1).sum() == 2 * 3


def plain_overlay(image, inside, colour, alpha, width):
    """What ``overlay`` draws, pixel by pixel of the window, without strips and tables."""

    def near(mask):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(mask, width), 2 * (2 * width + 1,)
        )
        return windows.any(axis=(2, 3))

    drawn = image.astype(float)
    drawn[inside] = drawn[inside] * (1 - alpha) + np.array(colour) * alpha
    drawn[near(inside) & ~inside] = WHITE
    drawn[inside & near(~inside)] = colour
    return np.rint(drawn).astype(np.uint8)


def scattered(height, width, seed):
    """A photograph of noise and a label map of rectangles, some on the borders, and of dots."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros((height, width), np.uint8)
    for number in (1, 2, 1, 255, 9, 2):
        top, left = rng.integers(0, height), rng.integers(0, width)
        label_map[top : top + height // 3, left : left + width // 3] = number
    label_map[rng.random((height, width)) < 0.002] = 2
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8), label_map


@pytest.mark.parametrize(("height", "width", "line"), [(700, 300, 2), (300, 650, 2), (39, 61, 1)])
def test_overlays_are_those_of_plain_arithmetic(height, width, line):
    """Several strips high, so that contours cross from one to the next."""
    image, label_map = scattered(height, width, height)
    expected = image
    for number in (1, 2, 9):
        colour = class_colour(number)
        expected = plain_overlay(expected, label_map == number, colour, 0.3, line)
    np.testing.assert_array_equal(label_overlay(image, label_map, {}, 0.3), expected)
    one = plain_overlay(image, label_map == 1, (9, 99, 200), 0.7, line)
    np.testing.assert_array_equal(overlay(image, label_map, (9, 99, 200), 0.7), one)
    wider = plain_overlay(image, label_map == 1, (9, 99, 200), 0.7, line + 1)
    assert not np.array_equal(one, wider)


def test_an_overlay_needs_little_more_memory_than_its_result():
    image, label_map = scattered(3000, 4000, 0)
    tracemalloc.start()
    drawn = overlay(image, label_map)
    one = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    label_overlay(image, label_map, {})
    several = tracemalloc.get_traced_memory()[1] - drawn.nbytes
    tracemalloc.stop()
    assert one < 1.8 * image.nbytes
    assert several < 1.8 * image.nbytes


def test_label_overlay_has_a_colour_per_class_and_a_legend_below():
    label_map = MASK * 1
    label_map[12:28, 22:30] = 2
    label_map[0] = 255
    drawn = label_overlay(GREY, label_map, ["cat", "dog", "a name far wider than the picture"])
    assert drawn.shape[0] > 40
    assert drawn.shape[1] > 60  # made wide enough for the longest name
    left = (drawn.shape[1] - 60) // 2
    picture, strip = drawn[:40, left : left + 60], drawn[40:]
    assert picture[0, 0].tolist() == [100, 100, 100]
    for number, (row, column) in {1: (20, 40), 2: (20, 26)}.items():
        expected = np.rint(50 + np.array(class_colour(number)) / 2)
        np.testing.assert_allclose(picture[row, column], expected, atol=1)
    for number in (1, 2, 3):
        assert (strip == class_colour(number)).all(axis=2).any()
    assert not (strip == class_colour(4)).all(axis=2).any()
    assert (strip.min(axis=2) < 60).any()  # text


def test_label_overlay_by_number():
    drawn = label_overlay(GREY, MASK * 9, {9: "cow"})
    assert (drawn[40:] == class_colour(9)).all(axis=2).any()


def test_class_colours_differ():
    assert len({class_colour(index) for index in range(1, 60)}) == 59


def test_boxes_are_outlined_one_by_one():
    mask = MASK.copy()
    mask[2:6, 2:6] = 1
    drawn = outline_boxes(GREY, mask, (1, 2, 3))
    painted = (drawn == (1, 2, 3)).all(axis=2)
    assert painted[10, 20:50].all()
    assert painted[10:30, 49].all()
    assert painted[2, 2:6].all()
    assert not painted[14:26, 24:46].any()
    assert not painted[8].any()


def test_supports_show_what_they_are():
    as_mask = Support(Path("a.jpg"), GREY, MASK, "mask", "", None)
    as_box = Support(Path("a.jpg"), GREY, MASK, "box", "", None)
    assert draw_support(as_mask)[20, 35].tolist() != [100, 100, 100]
    assert draw_support(as_box)[20, 35].tolist() == [100, 100, 100]
    assert draw_support(as_box)[10, 35].tolist() != [100, 100, 100]
