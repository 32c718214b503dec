"""Run-length encoding: golden values by hand, and pycocotools where it is installed."""

import numpy as np
import pytest

from arnet.runtime.annotations import decode_rle, encode_rle
from arnet.runtime.errors import AnnotationError

# Down the columns 0 1 | 1 1 | 0 0: one 0, three 1, two 0. Each length below 16 is one character,
# length + 48: '1', '3', '2'.
MASK = np.array([[0, 1, 0], [1, 1, 0]], np.uint8)


def test_golden_values():
    assert encode_rle(MASK) == {"size": [2, 3], "counts": "132"}
    assert decode_rle({"size": [2, 3], "counts": "132"}).tolist() == MASK.tolist()
    assert decode_rle({"size": [2, 3], "counts": [1, 3, 2]}).tolist() == MASK.tolist()
    # Object at the first pixel: an empty first run. From the fourth length on, differences to the
    # length two before: 0 1 2 (2-1) -> '0', '1', '2', '1'.
    assert encode_rle(np.array([[1], [0], [0], [1], [1]])) == {"size": [5, 1], "counts": "0121"}
    # 100 = 0b00011_00100: low group with the sixth bit, 4 + 32 + 48 = 'T', then 3 + 48 = '3'.
    assert encode_rle(np.zeros((10, 10))) == {"size": [10, 10], "counts": "T3"}


def test_every_nonzero_pixel_is_object():
    assert encode_rle(MASK * 255) == encode_rle(MASK) == encode_rle(MASK > 0)


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
def test_round_trip_and_pycocotools(density):
    rng = np.random.default_rng(1)
    mask = (rng.random((61, 87)) < density).astype(np.uint8)
    mask[20:50, 10:70] = 1  # long runs too
    encoded = encode_rle(mask)
    np.testing.assert_array_equal(decode_rle(encoded), mask)
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask))
    assert encoded["counts"] == theirs["counts"].decode()
    assert encoded["size"] == theirs["size"]
    np.testing.assert_array_equal(decode_rle(theirs), mask)
    wrong = coco.encode(np.asfortranarray(mask.T))  # row-wise runs must not pass for column-wise
    assert density == 1.0 or encoded["counts"] != wrong["counts"].decode()


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [2, 3]},
        {"size": [2], "counts": [6]},
        {"size": [2, 3], "counts": [1, 3]},
        {"size": [2, 3], "counts": [8, -2]},
        {"size": [2, 3], "counts": "13T"},
        {"size": [2, 3], "counts": ["a"]},
        {"size": [2, 3], "counts": None},
        {"size": [2, float("inf")], "counts": [6]},
    ],
)
def test_malformed_encodings(rle):
    with pytest.raises(AnnotationError, match="run-length"):
        decode_rle(rle)
