"""What is drawn where: grids and the figure of q1, s and q2."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arnet.runtime.outputs.drawing import SUPPORT_COLOUR, overlay
from arnet.runtime.outputs.figure import Cell, FigureRow, figure, grid
from arnet.runtime.supports import Support

GREY = np.full((40, 60, 3), 100, np.uint8)
MASK = np.zeros((40, 60), np.uint8)
MASK[10:30, 20:50] = 1


def test_grid_places_pictures_and_captions():
    red = Cell(np.full((50, 100, 3), (255, 0, 0), np.uint8), "red")
    blue = Cell(np.full((100, 50, 3), (0, 0, 255), np.uint8))
    drawn = grid([[red, None], [None, blue, red]], cell_size=100)
    assert drawn.shape[1] == 3 * 100 + 4 * 5
    is_red = (drawn == (255, 0, 0)).all(axis=2)
    is_blue = (drawn == (0, 0, 255)).all(axis=2)
    assert is_red.sum() == 2 * 50 * 100
    assert is_blue.sum() == 100 * 50
    assert is_red[5:55, 5:105].all()
    text = drawn[55 : 55 + 15, 5:105]
    assert (text.max(axis=2) < 100).any()  # the caption, below its picture
    assert np.nonzero(is_blue.any(axis=0))[0].tolist() == list(range(135, 185))  # centred


def test_captions_stay_in_their_cell():
    cell = Cell(np.zeros((10, 100, 3), np.uint8) + 255, "a caption that is far too long " * 5)
    drawn = grid([[None, cell, None]], cell_size=100)
    ink = np.nonzero((drawn.max(axis=2) < 200).any(axis=0))[0]
    assert len(ink)
    assert ink.min() >= 5 + 105 - 1
    assert ink.max() <= 5 + 105 + 100


@pytest.mark.parametrize("rows", [[], [[]]])
def test_empty_grid(rows):
    assert grid(rows).shape[2] == 3


def figure_cells(rows, lines, columns):
    """Which cells of a drawn figure are filled, line by line."""
    gap, size = 4, 60
    drawn = figure(rows, cell_size=size)
    assert drawn.shape[1] == columns * (size + gap) + gap
    height = drawn.shape[0] // lines

    def filled(line, column):
        left = gap + column * (size + gap)
        return bool((drawn[line * height : line * height + 44, left : left + size] < 255).any())

    return [[filled(line, column) for column in range(columns)] for line in range(lines)]


def test_figure_of_one_support_is_one_line():
    support = Support(Path("a.jpg"), GREY, MASK, "mask", "", None)
    everything = FigureRow([support], GREY, MASK, [MASK], MASK, "cat")
    assert figure_cells([everything], 1, 5) == [[True] * 5]
    without_q1_and_s = FigureRow([support], GREY, None, None, MASK)
    assert figure_cells([without_q1_and_s], 1, 5) == [[True, True, False, False, True]]


def test_figure_of_several_supports_has_their_predictions_below_them():
    support = Support(Path("a.jpg"), GREY, MASK, "mask", "", None)
    row = FigureRow([support] * 2, GREY, MASK, [MASK] * 2, MASK)
    assert figure_cells([row], 2, 4) == [[True, True, True, False], [True] * 4]


def test_the_query_is_drawn_as_it_is_labelled_where_that_is_known():
    support = Support(Path("a.jpg"), GREY, MASK, "mask", "", None)
    truth = np.where(MASK == 1, 0, 1).astype(np.uint8)
    truth[:5] = 255  # what is ignored is left as it is
    row = FigureRow([support], GREY, None, None, MASK)
    plain, drawn = figure([row], cell_size=60), figure([replace(row, truth=truth)], cell_size=60)
    gap, size, height = 4, 60, 40
    query = np.s_[gap : gap + height, 2 * gap + size : 2 * (gap + size)]
    assert np.array_equal(drawn[query], overlay(GREY, truth, SUPPORT_COLOUR))
    assert np.array_equal(plain[query], GREY)
    others = np.ones(drawn.shape[:2], bool)
    others[:, 2 * gap + size : 2 * (gap + size)] = False
    assert np.array_equal(drawn[others], plain[others])  # q2 is drawn on the plain query
