import copy
import json

import numpy as np
import pytest

from arnet.data.coco import coco
from arnet.runtime.errors import DataError

# 8 categories with gaps in their ids, as in COCO: 1, 3, 5, ... become classes 1, 2, 3, ...
CATEGORIES = [{"id": 2 * n + 1, "name": f"thing{n + 1}"} for n in range(8)]


def square(left, top, side):
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def root(tmp_path, write_png):
    """Image 7: a polygon of class 1 with a smaller one of class 2 on it and a crowd of class 3.

    Image 5: a run-length mask of class 2.
    """
    column = {"size": [64, 96], "counts": [0, 64 * 60, 64 * 36]}  # the left 60 columns
    crowd = {"size": [64, 96], "counts": [64 * 50, 64 * 46]}  # from column 50 to the right
    annotations = [
        {"image_id": 7, "category_id": 3, "segmentation": square(20, 20, 10), "area": 100},
        {"image_id": 7, "category_id": 1, "segmentation": square(4, 4, 56), "area": 3136},
        {"image_id": 7, "category_id": 5, "segmentation": crowd, "area": 2944, "iscrowd": 1},
        {"image_id": 5, "category_id": 3, "segmentation": column, "area": 3840},
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation |= {"id": number, "iscrowd": annotation.get("iscrowd", 0)}
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 64, "width": 96} for i in (7, 5)]
    for split in ("train", "val"):
        for image in images:
            write_png(tmp_path / f"{split}2014" / image["file_name"], np.zeros((64, 96, 3), "u1"))
        path = tmp_path / "annotations" / f"instances_{split}2014.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES})
        )
    return tmp_path


def test_polygons_runs_and_crowds_are_painted(root, capsys):
    dataset = coco(root, "val")
    mask = dataset.mask("7")
    assert mask.shape == dataset.image("7").shape[:2] == (64, 96)
    assert mask[15, 15] == 1
    assert mask[25, 25] == 2, "the smaller instance lies on the larger"
    assert mask[30, 55] == 1, "an instance lies on a crowd"
    assert mask[30, 90] == 255
    assert mask[0, 0] == 0
    left = dataset.mask("5")
    assert (left[:, :60] == 2).all() and (left[:, 60:] == 0).all()
    assert capsys.readouterr().out == ""


def test_small_objects_and_crowds_make_no_pair(root):
    dataset = coco(root, "val")
    assert dataset.ids == ["5", "7"]
    assert dataset.pairs == [("5", 2), ("7", 1)]
    assert set(dataset.scan["7"].pixels) == {1, 2}
    assert ("7", 2) in coco(root, "val", min_pixels=100).pairs


def test_folds_are_interleaved(root):
    dataset = coco(root, "val", 1)
    assert {c: dataset.class_names[c] for c in dataset.classes} == {2: "thing2", 6: "thing6"}
    train = coco(root, "train", 1)
    assert train.classes == (1, 3, 4, 5, 7, 8)
    assert set(np.unique(train.mask("7"))) == {0, 1, 255}
    assert coco(root, "train", 1, "drop").ids == []
    assert coco(root, "train", 3, "drop").ids == ["5", "7"]


def test_scan_is_kept_apart_for_each_setting(root, tmp_path):
    cache = tmp_path / "scan"
    first = coco(root, "val", cache_dir=cache).pairs
    assert coco(root, "val", cache_dir=cache).pairs == first
    assert coco(root, "val", cache_dir=cache, min_pixels=100).pairs != first


def test_missing_and_damaged_parts_are_named(root):
    with pytest.raises(DataError, match="train2017 is missing"):
        coco(root, "train", year=2017)
    annotation_file = root / "annotations" / "instances_val2014.json"
    whole = json.loads(annotation_file.read_text())
    for part, key, value in (
        ("annotations", "area", None),
        ("annotations", "category_id", 99),
        ("images", "id", "seven"),
        ("images", "file_name", None),
    ):
        damaged = copy.deepcopy(whole)
        damaged[part][0][key] = value
        if value is None:
            del damaged[part][0][key]
        annotation_file.write_text(json.dumps(damaged))
        with pytest.raises(DataError, match="no COCO instance file"):
            coco(root, "val")
    annotation_file.write_text("{")
    with pytest.raises(DataError, match="no COCO instance file"):
        coco(root, "val")
    annotation_file.unlink()
    with pytest.raises(DataError, match=r"instances_val2014\.json"):
        coco(root, "val")
