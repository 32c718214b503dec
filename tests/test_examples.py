"""The example photographs are what their README says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.finding import find_images
from arnet.runtime.images import image_size, read_mask
from arnet.runtime.supports import read_supports

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", ["horse", "dog"])
def test_supports_are_five_photographs_with_plain_masks(name: str) -> None:
    supports = read_supports(EXAMPLES / name)
    assert [support.path.name for support in supports] == [f"{name}{n}.jpg" for n in range(1, 6)]
    for path in (EXAMPLES / name).glob("*.png"):
        assert set(np.unique(read_mask(path))) == {0, 255}


def test_the_boxes_are_those_of_the_same_photographs_and_masks() -> None:
    masks, boxes = read_supports(EXAMPLES / "horse"), read_supports(EXAMPLES / "horse-boxes")
    for mask, box in zip(masks, boxes, strict=True):
        assert box.kind == "box"
        assert box.path.read_bytes() == mask.path.read_bytes()
        rows, columns = np.nonzero(mask.mask)
        tight = np.zeros_like(mask.mask)
        tight[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
        np.testing.assert_array_equal(box.mask, tight)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("horse", {2}), ("horses", {2}), ("dogs", {1}), ("both", {1, 2}), ("cats", set())],
)
def test_the_truth_says_what_each_query_shows(name: str, shown: set[int]) -> None:
    mask = read_mask(EXAMPLES / "truth" / f"{name}.png")
    assert mask.shape == image_size(EXAMPLES / "queries" / f"{name}.jpg")
    assert set(np.unique(mask)) - {0, 255} == shown


def test_the_queries_are_photographs_only() -> None:
    names = [path.name for path in find_images(str(EXAMPLES / "queries"))]
    assert names == ["both.jpg", "cats.jpg", "dogs.jpg", "horse.jpg", "horses.jpg"]


def test_every_photograph_is_small_and_its_source_is_named() -> None:
    photographs = list(EXAMPLES.rglob("*.jpg"))
    named = dict(re.findall(r"\| (\w+) \| (\d{4}_\d{6}) ", (EXAMPLES / "README.md").read_text()))
    assert {path.stem for path in photographs} == named.keys()
    assert all(max(Image.open(path).size) <= 400 for path in photographs)
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*.*")) < 1_500_000
