"""The matrices resize as torch does: photographs as they are prepared, masks as they are pooled."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from arnet.data.transforms import prepare
from arnet.export.resampling import Averaging, Preprocess, averaging
from arnet.modeling.layers import resize_mask

SIZES = [(40, 33), (65, 65), (64, 66), (200, 131), (1, 77), (90, 1), (1, 1), (7, 301), (480, 640)]
BOUND = 5e-5  # of pixels from -2.1 to 2.7; noise is the hardest


def photograph(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


def prepared(image: np.ndarray, size: int = 65) -> torch.Tensor:
    return prepare(image, np.zeros(image.shape[:2], np.uint8), size)[0]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_photograph_is_prepared_as_for_the_model(size) -> None:
    image = photograph(*size)
    for side in (65, 98):
        found = Preprocess(side)(torch.from_numpy(image))
        assert found.shape == (1, 3, side, side) and found.dtype == torch.float32
        torch.testing.assert_close(found[0], prepared(image, side), rtol=0, atol=BOUND)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda image: image[:, :, ::-1], id="channels"),
        pytest.param(lambda image: image[::-1], id="rows"),
        pytest.param(lambda image: np.roll(image, 1, axis=1), id="shifted"),
    ],
)
def test_another_photograph_is_far_away(wrong) -> None:
    image = photograph(200, 131)
    found = Preprocess(65)(torch.from_numpy(wrong(image).copy()))
    assert (found[0] - prepared(image)).abs().max() > 1000 * BOUND


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_other_interpolations_are_far_away(mode) -> None:
    """Without antialiasing, or of another kind: the comparison above would see it."""
    planes = torch.from_numpy(photograph(200, 131)).permute(2, 0, 1)[None].float()
    lines = averaging(torch.tensor(200), torch.arange(200), 65).float()
    columns = averaging(torch.tensor(131), torch.arange(131), 65).float()
    found = lines @ planes @ columns.T
    right = F.interpolate(planes, (65, 65), mode="bilinear", antialias=True)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-3)  # of 255
    assert (found - F.interpolate(planes, (65, 65), mode=mode)).abs().max() > 10


@pytest.mark.parametrize("length", [1, 2, 9, 64, 65, 66, 500])
def test_a_row_of_the_matrix_is_a_mean(length) -> None:
    matrix = averaging(torch.tensor(length), torch.arange(length), 65)
    assert matrix.shape == (65, length) and matrix.dtype == torch.float64
    assert matrix.min() >= 0
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(65, dtype=torch.float64))


@pytest.mark.parametrize(
    ("size", "grid"), [(65, (9, 9)), (321, (41, 41)), (65, (5, 5)), (34, (5, 3)), (33, (33, 40))]
)
def test_a_mask_is_averaged_as_in_the_model(size, grid) -> None:
    generator = torch.Generator().manual_seed(0)
    average = Averaging(size, grid).float()
    for mask in (
        (torch.rand(1, size, size, generator=generator) > 0.5).float(),
        torch.rand(1, size, size, generator=generator),
        torch.ones(1, size, size),
    ):
        found = average(mask)
        assert found.shape == (1, 1, *grid)
        torch.testing.assert_close(found, resize_mask(mask, grid), rtol=0, atol=5e-6)
        if mask.std() > 0 and size > grid[0]:
            coarse = F.interpolate(mask[None], grid, mode="bilinear")
            assert (found - coarse).abs().max() > 0.1
