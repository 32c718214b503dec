"""The NumPy side of the stages."""

import numpy as np
import pytest

from arnet.runtime.tensors import resize_nearest, shares, sigmoid


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (33, 33), (66, 100), (480, 333), (1000, 3)])
@pytest.mark.parametrize("side", [1, 33, 321])
def test_the_nearest_pixel_centre(size, side) -> None:
    height, width = size
    mask = np.arange(height * width).reshape(size)
    found = resize_nearest(mask, side)
    assert found.shape == (side, side)
    for row in {0, side // 2, side - 1}:
        for column in {0, side // 3, side - 1}:
            centre = (row + 0.5) * height / side, (column + 0.5) * width / side
            assert found[row, column] == mask[int(centre[0]), int(centre[1])]


def test_not_the_nearest_corner() -> None:
    assert resize_nearest(np.arange(8).reshape(1, 8), 2)[0].tolist() == [2, 6]


def test_shares() -> None:
    found = shares([1, 3, 2])
    assert found.dtype == np.float32
    expected = [[1, 0, 0, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0, 0], [0, 0, 0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(found, expected)


def test_sigmoid_does_not_overflow() -> None:
    margins = np.array([-1e4, -5, 0, 5, 1e4], np.float32)
    with np.errstate(all="raise"):
        found = sigmoid(margins)
    assert found.dtype == np.float32
    expected = [0, 1 / (1 + np.exp(5)), 0.5, 1 / (1 + np.exp(-5)), 1]
    np.testing.assert_allclose(found, expected, atol=1e-7)
