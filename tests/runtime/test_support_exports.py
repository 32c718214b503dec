"""What annotation tools export is taken as they write it, no file moved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import AnnotationError
from arnet.runtime.outputs.drawing import cutout
from arnet.runtime.supports import read_support_classes, read_supports

BOX = np.zeros((8, 10), np.uint8)
BOX[2:5, 3:7] = 1
CORNER = np.zeros((8, 10), np.uint8)
CORNER[:2, :3] = 1


@pytest.fixture
def save(tmp_path):
    """Saves text, JSON or an array as an image under a new folder."""

    def save(name: str, content) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            image = Image.fromarray(content)
            if content.ndim == 2:  # as index masks are exported
                image.putpalette([value // 3 for value in range(768)])
            image.save(path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))

    return save


@pytest.fixture
def photograph(save):
    return lambda name, level=90: save(name, np.full((8, 10, 3), level, np.uint8))


def instances(names, bbox, category="cat"):
    """As CVAT exports: the file names are those below the subset's folder."""
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names, 1)],
        "annotations": [
            {"image_id": i, "category_id": 1, "bbox": bbox} for i, _ in enumerate(names, 1)
        ],
        "categories": [{"id": 1, "name": category}],
    }


def test_the_coco_archive_of_cvat(photograph, save, tmp_path):
    photograph("images/default/a.jpg")
    photograph("images/default/b.jpg")
    save("annotations/instances_default.json", instances(["a.jpg", "b.jpg"], [3, 2, 4, 3]))
    a, b = read_supports(tmp_path)
    assert (a.path, b.path) == tuple(
        tmp_path / "images" / "default" / n for n in ("a.jpg", "b.jpg")
    )
    np.testing.assert_array_equal(a.mask, BOX)
    assert b.source == "b.jpg: instances_default.json (COCO, 1 filled box, label cat, 15 % marked)"


@pytest.mark.parametrize(
    ("crowds", "told"),
    [
        (0, "1 shape"),
        (1, "1 shape, 1 crowd region left out as unknown"),
        (2, "1 shape, 2 crowd regions left out as unknown"),
    ],
)
def test_crowd_regions_are_told_as_left_out(crowds, told, photograph, save, tmp_path):
    photograph("a.jpg")
    data = instances(["a.jpg"], None)
    [item] = data["annotations"]
    item["segmentation"] = [[3, 2, 7, 2, 7, 5, 3, 5]]
    crowd = {"segmentation": {"size": [8, 10], "counts": [0, 8, 72]}, "iscrowd": 1}
    data["annotations"] += [{**item, **crowd}] * crowds
    save("all.json", data)
    [support] = read_supports(tmp_path)
    assert support.source == f"a.jpg: all.json (COCO, {told}, label cat, 15 % marked)"
    assert (support.mask == 255).sum() == (8 if crowds else 0)


def test_each_subset_has_its_own_coco_file(photograph, save, tmp_path):
    """Even where both hold a photograph of the same name."""
    for subset, bbox in (("train", [3, 2, 4, 3]), ("val", [0, 0, 3, 2])):
        photograph(f"images/{subset}/a.jpg")
        save(f"annotations/instances_{subset}.json", instances(["a.jpg"], bbox))
    train, val = read_supports(tmp_path)
    np.testing.assert_array_equal(train.mask, BOX)
    np.testing.assert_array_equal(val.mask, CORNER)
    photograph("images/test/a.jpg")
    with pytest.raises(AnnotationError, match=r"several COCO files: instances_train\.json, "):
        read_supports(tmp_path)


def test_subsets_of_images_have_subsets_of_masks(photograph, save, tmp_path):
    for subset, mask in (("train", BOX), ("val", CORNER)):
        photograph(f"images/{subset}/a.jpg")
        save(f"masks/{subset}/a.png", mask * 255)
    (tmp_path / "images" / ".thumbnails").mkdir()
    train, val = read_supports(tmp_path)
    np.testing.assert_array_equal(train.mask, BOX)
    np.testing.assert_array_equal(val.mask, CORNER)


def test_sub_folders_beside_photographs_are_no_subsets(photograph, save, tmp_path):
    photograph("images/a.jpg")
    photograph("images/discarded/b.jpg")
    save("masks/a.png", BOX)
    assert [support.path.name for support in read_supports(tmp_path)] == ["a.jpg"]


@pytest.mark.parametrize(
    "names", ["__ignore__\n_background_\ncat\ndog", "_background_\ncat\ndog\n"]
)
def test_the_archive_of_labelme2voc(names, photograph, save, tmp_path):
    photograph("JPEGImages/a.jpg")
    (tmp_path / "SegmentationClass").mkdir()
    np.save(tmp_path / "SegmentationClass" / "a.npy", BOX)
    index = BOX * 2 + CORNER
    index[-1] = 255  # -1 of the array
    save("SegmentationClassPNG/a.png", index)
    save("class_names.txt", names)
    classes = read_support_classes(tmp_path)
    assert list(classes) == ["cat", "dog"]
    expected = BOX.copy()
    expected[-1] = 255
    np.testing.assert_array_equal(classes["dog"][0].mask, expected)
    assert classes["cat"][0].source == "a.jpg: a.png (mask, 4 values, label cat, 8 % marked)"


def test_a_cutout_is_a_mask(save, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    save("a.jpg", image)
    save("a.png", cutout(image, BOX))
    [support] = read_supports(tmp_path)
    np.testing.assert_array_equal(support.mask, BOX)
    assert support.source == "a.jpg: a.png (mask, 2 values, 15 % marked)"


YOLO = "1 0.3 0.25 0.7 0.25 0.7 0.625 0.3 0.625\n0 0.15 0.125 0.3 0.25\n"


@pytest.mark.parametrize(
    ("image", "text", "names"),
    [
        ("a.jpg", "a.txt", "classes.txt"),
        ("a.jpg", "labels/a.txt", "labels/classes.txt"),
        ("images/a.jpg", "labels/a.txt", "classes.txt"),
        ("images/a.jpg", "images/a.txt", "images/classes.txt"),
        ("images/train/a.jpg", "labels/train/a.txt", "labels/classes.txt"),
        ("obj_train_data/a.jpg", "obj_train_data/a.txt", "obj.names"),
    ],
)
def test_yolo_labels(image, text, names, photograph, save, tmp_path):
    photograph(image)
    save(text, YOLO)
    classes = read_support_classes(tmp_path)
    assert list(classes) == ["0", "1"]
    save(names, "cat\nsea dog\n")
    classes = read_support_classes(tmp_path)
    assert list(classes) == ["cat", "sea dog"]
    [cat], [dog] = classes.values()
    np.testing.assert_array_equal(cat.mask, CORNER)
    np.testing.assert_array_equal(dog.mask, BOX)
    assert (cat.kind, dog.kind) == ("box", "mask")
    assert dog.source == "a.jpg: a.txt (YOLO, 1 shape, label sea dog, 15 % marked)"


def test_text_of_another_name_or_beside_another_annotation_does_not_matter(
    photograph, save, tmp_path
):
    photograph("a.jpg")
    save("a.txt", "a photograph of a cat")
    save("notes.txt", "annotated in May")
    save("all.json", instances(["a.jpg"], [3, 2, 4, 3]))
    [support] = read_supports(tmp_path)
    assert support.source.startswith("a.jpg: all.json")
    (tmp_path / "all.json").unlink()
    with pytest.raises(AnnotationError, match=r"a\.txt, line 1 is no YOLO label: 'a' is not"):
        read_supports(tmp_path)
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    with pytest.raises(AnnotationError, match=r"a\.jpg has no annotation") as caught:
        read_supports(tmp_path)
    assert "YOLO" in caught.value.hint


def test_a_photograph_without_yolo_objects(photograph, save, tmp_path):
    photograph("a.jpg")
    save("a.txt", "")
    with pytest.raises(AnnotationError, match=r"a\.txt has no objects for a\.jpg"):
        read_supports(tmp_path)
