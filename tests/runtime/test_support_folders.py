"""Folders of supports: their names, how they are capitalised, and how often they are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime import supports
from arnet.runtime.annotations import labelled
from arnet.runtime.errors import AnnotationError
from arnet.runtime.supports import read_support_classes, read_supports

MASK = np.zeros((8, 10), np.uint8)
MASK[2:5, 3:7] = 1


@pytest.fixture
def save(tmp_path):
    """Saves an array as an image in a new folder."""

    def save(name: str, values: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
        return path

    return save


@pytest.fixture
def photograph(save):
    return lambda name: save(name, np.full((8, 10, 3), 90, np.uint8))


@pytest.mark.parametrize(
    ("images", "masks"),
    [("Images", "Masks"), ("IMAGES", "masks"), ("JPEGimages", "segmentationclass")],
)
def test_folders_of_images_and_masks_in_any_capitals(images, masks, photograph, save, tmp_path):
    photograph(f"{images}/a.jpg")
    save(f"{masks}/a.png", MASK)
    [support] = read_supports(tmp_path)
    np.testing.assert_array_equal(support.mask, MASK)
    assert support.path == tmp_path / images / "a.jpg"


def test_one_such_folder_among_classes(photograph, save, tmp_path):
    photograph("cat/Images/a.jpg")
    save("cat/Masks/a.png", MASK)
    assert list(read_support_classes(tmp_path)) == ["cat"]
    assert "array" not in repr(read_supports(tmp_path))


def test_annotations_in_any_capitals(photograph, tmp_path):
    photograph("Images/a.jpg")
    box = "<bndbox><xmin>4</xmin><ymin>3</ymin><xmax>7</xmax><ymax>5</ymax></bndbox>"
    xml = tmp_path / "annotations" / "a.xml"
    xml.parent.mkdir()
    xml.write_text(f"<annotation><object><name>cat</name>{box}</object></annotation>")
    assert read_supports(tmp_path)[0].label == "cat"
    xml.unlink()
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [3, 2, 4, 3]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    xml.parent.rename(tmp_path / "Annotations")
    (tmp_path / "Annotations" / "all.json").write_text(json.dumps(coco))
    assert read_supports(tmp_path)[0].label == "dog"


def test_values_of_masks_are_in_the_order_of_numbers(photograph, save, tmp_path):
    """As text, 7 would come after 10, and the masks' numbers 1, 2 would mean 10, 7."""
    photograph("all/a.jpg")
    save("all/a.png", MASK * np.array([0, 0, 0, 10, 15, 17, 7, 0, 0, 0], np.uint8))
    assert list(read_support_classes(tmp_path / "all")) == ["7", "10", "15", "17"]
    for name in ("10", "9"):
        photograph(f"each/{name}/a.jpg")
        save(f"each/{name}/a.png", MASK)
    assert list(read_support_classes(tmp_path / "each")) == ["9", "10"]
    (tmp_path / "each" / "9").rename(tmp_path / "each" / "9a")
    assert list(read_support_classes(tmp_path / "each")) == ["10", "9a"]


def test_a_photograph_with_several_labels_is_read_and_held_once(
    photograph, save, tmp_path, monkeypatch
):
    for stem in "ab":
        photograph(f"{stem}.jpg")
        save(f"{stem}.png", MASK * np.array([0, 0, 0, 1, 2, 3, 3, 0, 0, 0], np.uint8))
    done = []
    for place, name in ((supports, "read_image"), (labelled, "read_mask")):
        read = getattr(place, name)
        monkeypatch.setattr(place, name, lambda path, *rest, r=read: done.append(path) or r(path))
    classes = read_support_classes(tmp_path, labels=["3", "1"])
    assert list(classes) == ["3", "1"]
    assert sorted(path.name for path in done) == ["a.jpg", "a.png", "b.jpg", "b.png"]
    for first, second in zip(*classes.values(), strict=True):
        assert first.image is second.image
    with pytest.raises(AnnotationError, match="no label '4'; it has: 1, 2, 3"):
        read_support_classes(tmp_path, labels=["1", "4"])


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (20_000, "1 value, 100 %"),
        (6_000, "2 values, 30 %"),
        (114, "2 values, 0.57 %"),
        (1, "2 values, less than 0.01 %"),
    ],
)
def test_how_much_is_marked_is_told(pixels, told, save, tmp_path):
    """A white or an inverted mask is seen by it."""
    mask = np.zeros((200, 100), np.uint8)
    mask.flat[:pixels] = 255
    save("a.jpg", np.full((200, 100, 3), 90, np.uint8))
    save("a.png", mask)
    [support] = read_supports(tmp_path)
    assert support.source == f"a.jpg: a.png (mask, {told} marked)"
