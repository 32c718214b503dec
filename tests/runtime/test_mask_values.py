"""What the values of a mask mean: labels, the object, or unknown."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import AnnotationError
from arnet.runtime.supports import read_support_classes, read_supports

OBJECT = np.zeros((20, 30), np.uint8)
OBJECT[4:14, 5:25] = 1


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.jpg")
    return tmp_path


def save(folder, values, palette=False, name="a.png"):
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        image.putpalette([value // 3 for value in range(768)])
    image.save(folder / name)


def soft(value, pixels=1):
    """The object in 255, the first of its pixels of another value."""
    values = OBJECT * 255
    values[4, 5 : 5 + pixels] = value
    return values


TRIMAP = np.where(OBJECT == 1, 255, 128).astype(np.uint8)
TRIMAP[:2] = 0


@pytest.mark.parametrize(
    "values",
    [TRIMAP, soft(254), soft(1), soft(20), soft(128, 20), np.maximum(OBJECT * 21, soft(0))],
    ids=["trimap", "254", "1", "20", "edge", "more of 21"],
)
def test_a_soft_edge_or_a_trimap_is_refused(values, folder):
    save(folder, values)
    for read in (read_supports, read_support_classes):
        with pytest.raises(
            AnnotationError, match=r"a\.png has .* of 255: a soft edge or a trimap"
        ) as caught:
            read(folder)
    assert "Save the mask with 0 and 255 only" in caught.value.hint
    assert f"add a classes.txt to {folder} " in caught.value.hint


def bordered(label, border):
    values = OBJECT * label
    values[4 : 4 + border, 5:25] = 255
    return values


@pytest.mark.parametrize("label", [1, 15, 20])
def test_a_label_with_thin_unknown_borders_is_one(label, folder):
    save(folder, bordered(label, 2), palette=True)
    [support] = read_supports(folder)
    assert np.bincount(support.mask.ravel())[[1, 255]].tolist() == [160, 40]
    save(folder, bordered(label, 2))  # and without the palette
    assert np.array_equal(read_supports(folder)[0].mask, support.mask)


def test_a_small_object_of_voc_may_be_smaller_than_its_border(folder):
    save(folder, bordered(15, 8), palette=True)
    assert (read_supports(folder)[0].mask == 1).sum() == 40
    save(folder, bordered(15, 8))
    with pytest.raises(AnnotationError, match=r"40 pixels of 15 and 160 of 255"):
        read_supports(folder)


def test_a_name_says_that_the_value_is_a_label(folder):
    save(folder, bordered(2, 8))
    (folder / "classes.txt").write_text("dog\ncat\n")
    [support] = read_supports(folder)
    assert support.label == "cat" and (support.mask == 255).sum() == 160
    save(folder, soft(254))  # which has no name
    with pytest.raises(AnnotationError, match="a soft edge or a trimap"):
        read_supports(folder)


def test_several_labels_leave_no_doubt_that_255_is_unknown(folder):
    values = bordered(40, 8)
    values[-1] = 77
    save(folder, values)
    classes = read_support_classes(folder)
    assert list(classes) == ["40", "77"]
    assert (classes["40"][0].mask == 255).sum() == 160


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("file", ["classes.txt", "labelmap.txt"])
def test_black_and_white_is_the_only_class_that_is_named(value, file, folder):
    save(folder, OBJECT * value)
    (folder / file).write_text("background\ncup\n")
    assert list(read_support_classes(folder)) == ["cup"]
    [support] = read_supports(folder, "cup")
    assert support.label == "cup" and np.array_equal(support.mask, OBJECT)
    assert support.source == "a.jpg: a.png (mask, 2 values, label cup, 33 % marked)"


def test_black_and_white_is_none_of_several_classes(folder):
    save(folder, OBJECT * 255)
    (folder / "classes.txt").write_text("cup\nspoon\n")
    assert read_supports(folder)[0].label is None


@pytest.mark.parametrize("text", ["3 coffee cup\n", "0 null\n3 coffee cup\n"])
def test_the_names_may_be_numbered_as_for_training(text, folder):
    (folder / "classes.txt").write_text(text)
    for value in (3, 255):
        save(folder, OBJECT * value)
        assert list(read_support_classes(folder)) == ["coffee cup"]


@pytest.mark.parametrize("text", ["3 cups\nsaucer\n", "2 cups\n2 mugs\n"])
def test_other_names_may_begin_with_a_number(text, folder):
    (folder / "classes.txt").write_text(text)
    save(folder, OBJECT)
    assert list(read_support_classes(folder)) == [text.partition("\n")[0]]
