"""What was found, as COCO: pycocotools and our own reader take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.outputs.coco import write_coco
from arnet.runtime.outputs.results import Result, Segment
from arnet.runtime.supports import read_support_classes

SIZE = (30, 40)


@pytest.fixture
def masks() -> dict[str, dict[str, np.ndarray]]:
    """By photograph and class; the second shows one class alone, the third nothing."""
    cup, plate, nothing = (np.zeros(SIZE, np.uint8) for _ in range(3))
    cup[3:12, 5:30] = cup[20:25, 1:4] = 1
    plate[12:28, 10:39] = 1
    return {
        "a": {"cup": cup, "plate": plate},
        "may/b": {"cup": nothing, "plate": plate[::-1]},
        "c": {"cup": nothing, "plate": nothing},
    }


@pytest.fixture
def written(masks, tmp_path) -> Path:
    results = []
    for name, found in masks.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE[::-1], "red").save(path)
        segments = [
            Segment.from_mask(label, mask, np.full(SIZE, 0.75, np.float32), n)
            for n, (label, mask) in enumerate(found.items(), start=1)
        ]
        results.append(Result(path, SIZE, tuple(segments), {}, name))
    write_coco(tmp_path / "annotations.json", results)
    return tmp_path / "annotations.json"


def test_pycocotools_reads_the_masks(written, masks) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO(written)
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["cup", "plate"]
    assert {one["file_name"] for one in coco.imgs.values()} == {"a.png", "may/b.png", "c.png"}
    assert len(coco.anns) == 3  # what was not found is no annotation
    for image in coco.loadImgs(coco.getImgIds()):
        found = masks[image["file_name"].removesuffix(".png")]
        for one in coco.imgToAnns[image["id"]]:
            label = coco.cats[one["category_id"]]["name"]
            np.testing.assert_array_equal(coco.annToMask(one), found[label])
            assert one["area"] == found[label].sum() and one["score"] == 0.75
            x, y, width, height = one["bbox"]
            assert found[label][y : y + height, x : x + width].sum() == one["area"]


def test_it_serves_as_the_annotation_of_supports(written, masks) -> None:
    for name in ("may/b.png", "c.png"):
        (written.parent / name).unlink()
    classes = read_support_classes(written.parent, "as-is")
    assert {name: len(members) for name, members in classes.items()} == {"cup": 1, "plate": 1}
    for name, (support,) in classes.items():
        np.testing.assert_array_equal(support.mask, masks["a"][name])
