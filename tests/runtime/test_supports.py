"""Every accepted layout of a support folder, and an error for every other."""

import json

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import AnnotationError, ImageError
from arnet.runtime.supports import read_support_classes, read_supports

BOX = np.zeros((8, 10), np.uint8)
BOX[2:5, 3:7] = 1
CROSS = np.zeros((8, 10), np.uint8)
CROSS[1:7, 4] = CROSS[3, 2:8] = 1


def photo(path, seed=0, size=(10, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


def mask(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if mode == "P":
        image.putpalette(np.random.default_rng(3).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(path)


def labelme(path, *labels):
    points = [[3, 2], [7, 2], [7, 5], [3, 5]]
    shapes = [{"label": x, "shape_type": "polygon", "points": points} for x in labels]
    path.write_text(json.dumps({"shapes": shapes}))


def voc(path, label="cat"):
    path.parent.mkdir(parents=True, exist_ok=True)
    box = "<xmin>4</xmin><ymin>3</ymin><xmax>7</xmax><ymax>5</ymax>"
    path.write_text(
        f"<annotation><object><name>{label}</name><bndbox>{box}</bndbox></object></annotation>"
    )


def coco(path, *names):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": i, "category_id": 1, "bbox": [3, 2, 4, 3]} for i in range(len(names))
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path.write_text(json.dumps(data))


def error(folder, *words, **options):
    with pytest.raises(AnnotationError) as caught:
        read_supports(folder, **options)
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ["a.png", "a_mask.png", "a.mask.png", "masks/a.png", "a.PNG"])
@pytest.mark.parametrize("value", [1, 255])
def test_mask_beside_the_photograph(tmp_path, name, value):
    photo(tmp_path / "a.jpg")
    mask(tmp_path / name, BOX * value)
    [support] = read_supports(tmp_path)
    np.testing.assert_array_equal(support.mask, BOX)
    assert support.image.shape == (8, 10, 3)
    assert (support.path, support.kind, support.label) == (tmp_path / "a.jpg", "mask", None)
    assert support.source == f"a.jpg: {name.split('/')[-1]} (mask, 2 values, 15 % marked)"


def test_photographs_may_be_png(tmp_path):
    photo(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png", BOX)
    photo(tmp_path / "b.png")
    labelme(tmp_path / "b.json", "cat")
    a, b = read_supports(tmp_path)
    assert (a.path.name, b.path.name) == ("a.png", "b.png")
    np.testing.assert_array_equal(a.mask, b.mask)


def test_stems_match_exactly_and_never_by_order(tmp_path):
    for stem, value in (("a1", BOX), ("a10", CROSS), ("a2", BOX.max() - BOX)):
        photo(tmp_path / f"images/{stem}.jpg")
        mask(tmp_path / f"masks/{stem}.png", value)
    masks = {support.path.stem: support.mask for support in read_supports(tmp_path)}
    np.testing.assert_array_equal(masks["a10"], CROSS)
    np.testing.assert_array_equal(masks["a1"], BOX)
    (tmp_path / "masks/a10.png").rename(tmp_path / "masks/a11.png")
    error(tmp_path, "a10.jpg", "no annotation")


def test_the_first_annotation_wins(tmp_path):
    photo(tmp_path / "a.jpg")
    steps = [
        lambda: coco(tmp_path / "all.json", "a.jpg"),
        lambda: voc(tmp_path / "Annotations/a.xml"),
        lambda: mask(tmp_path / "SegmentationClass/a.png", BOX),
        lambda: voc(tmp_path / "a.xml"),
        lambda: labelme(tmp_path / "a.json", "cat"),
        lambda: mask(tmp_path / "a_mask.png", BOX),
    ]
    sources = [(step(), read_supports(tmp_path)[0].source)[1] for step in steps]
    assert sources == [
        "a.jpg: all.json (COCO, 1 filled box, label cat, 15 % marked)",
        "a.jpg: a.xml (Pascal VOC, 1 filled box, label cat, 15 % marked)",
        "a.jpg: a.png (mask, 2 values, 15 % marked)",
        "a.jpg: a.xml (Pascal VOC, 1 filled box, label cat, 15 % marked)",
        "a.jpg: a.json (labelme, 1 shape, label cat, 15 % marked)",
        "a.jpg: a_mask.png (mask, 2 values, 15 % marked)",
    ]


def test_each_form_gives_the_same_pixels(tmp_path):
    for stem in "abcd":
        photo(tmp_path / f"{stem}.jpg")
    mask(tmp_path / "a.png", BOX)
    labelme(tmp_path / "b.json", "cat")
    voc(tmp_path / "c.xml")
    coco(tmp_path / "annotations/instances.json", "d.jpg")
    supports = read_supports(tmp_path)
    assert [support.kind for support in supports] == ["mask", "mask", "box", "box"]
    for support in supports:
        np.testing.assert_array_equal(support.mask, BOX)


def test_voc_layout_with_names(tmp_path):
    index = BOX * 2 + CROSS * (BOX == 0) * 3
    index[0] = 255
    photo(tmp_path / "JPEGImages/a.jpg")
    mask(tmp_path / "SegmentationClass/a.png", index, "P")
    photo(tmp_path / "JPEGImages/b.jpg")
    mask(tmp_path / "SegmentationClass/b.png", BOX * 3, "P")
    (tmp_path / "labelmap.txt").write_text(
        "background:0,0,0::\ncar:9,0,0::\ncat:0,9,0::\ndog:0,0,9::"
    )
    error(tmp_path, "cat, dog")
    error(tmp_path, "no label 'cow'", "cat, dog", label="cow")
    [cat] = read_supports(tmp_path, "cat")
    expected = BOX.copy()
    expected[0] = 255  # ignored pixels stay ignored
    np.testing.assert_array_equal(cat.mask, expected)
    assert cat.source == "a.jpg: a.png (mask, 4 values, label cat, 15 % marked)"
    classes = read_support_classes(tmp_path)
    assert [(name, len(found)) for name, found in classes.items()] == [("cat", 1), ("dog", 2)]


def test_painted_masks_need_a_label_map(tmp_path):
    colours = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0]], np.uint8)
    photo(tmp_path / "JPEGImages/a.jpg")
    mask(tmp_path / "SegmentationClass/a.png", colours[BOX + CROSS])
    assert "labelmap.txt" in error(tmp_path, "a.png", "3 colours").hint
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncat:9,0,0::\ndog:0,9,0::")
    [dog] = read_supports(tmp_path, "dog")
    np.testing.assert_array_equal(dog.mask, BOX & CROSS)


def test_values_without_names_are_labels_by_number(tmp_path):
    photo(tmp_path / "a.jpg")
    mask(tmp_path / "a.png", BOX)
    assert read_supports(tmp_path)[0].label is None
    assert list(read_support_classes(tmp_path)) == ["object"]
    without = error(tmp_path, "no label 'cat': its annotations have none", label="cat")
    assert without.hint == "Leave --label out."
    photo(tmp_path / "b.jpg")
    mask(tmp_path / "b.png", BOX * 15)  # a mask of 0 and 15 is not the same thing as one of 0 and 1
    error(tmp_path, "several labels", "1, 15")
    assert [support.path.stem for support in read_supports(tmp_path, "15")] == ["b"]
    assert [support.path.stem for support in read_supports(tmp_path, "1")] == ["a"]


def test_several_labels_need_a_choice(tmp_path):
    photo(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", "cat", "dog")
    photo(tmp_path / "b.jpg")
    labelme(tmp_path / "b.json", "cat")
    assert "--label cat" in error(tmp_path, "cat, dog").hint
    assert [support.path.stem for support in read_supports(tmp_path, "cat")] == ["a", "b"]
    assert [support.path.stem for support in read_supports(tmp_path, "dog")] == ["a"]
    photo(tmp_path / "c.jpg")
    mask(tmp_path / "c.png", BOX)
    error(tmp_path, "c.png", "no label", label="cat")


def test_a_single_label_takes_unlabelled_masks_along(tmp_path):
    photo(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", "cat")
    photo(tmp_path / "b.jpg")
    mask(tmp_path / "b.png", BOX)
    assert [support.label for support in read_supports(tmp_path)] == ["cat", None]
    assert list(read_support_classes(tmp_path)) == ["cat"]


def test_a_folder_per_class(tmp_path):
    for name, stem in (("cat", "a"), ("cat", "b"), ("dog", "a")):
        photo(tmp_path / name / f"{stem}.jpg")
        mask(tmp_path / name / f"{stem}.png", BOX)
    photo(tmp_path / "cow/images/x.jpg")
    mask(tmp_path / "cow/masks/x.png", BOX)
    classes = read_support_classes(tmp_path)
    assert {name: len(found) for name, found in classes.items()} == {"cat": 2, "cow": 1, "dog": 1}
    assert classes["dog"][0].label == "dog"
    error(tmp_path, "cat, cow, dog")
    assert len(read_supports(tmp_path, "cat")) == 2
    labelme(tmp_path / "cat/a.json", "x", "y")
    (tmp_path / "cat/a.png").unlink()
    (tmp_path / "cat/b.png").unlink()
    labelme(tmp_path / "cat/b.json", "cat", "y")
    assert len(read_supports(tmp_path, "cat")) == 1  # the label that has the folder's name
    labelme(tmp_path / "cat/b.json", "x")
    error(tmp_path, "cat", "x, y", label="cat")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat").rename(tmp_path / ".hidden")
    error(tmp_path, "empty", "no photographs", label="dog")


def test_masks_as_boxes(tmp_path):
    photo(tmp_path / "a.jpg")
    mask(tmp_path / "a.png", CROSS * 255)
    photo(tmp_path / "b.jpg")
    voc(tmp_path / "b.xml")
    a, b = read_supports(tmp_path, annotation="box")
    expected = np.zeros_like(CROSS)
    expected[1:7, 2:8] = 1
    np.testing.assert_array_equal(a.mask, expected)
    np.testing.assert_array_equal(b.mask, BOX)
    assert (a.kind, b.kind) == ("box", "box")
    # 11 pixels of 80 in the cross, 36 in its box.
    assert a.source == "a.jpg: a.png (mask, 2 values, turned into boxes, 45 % marked)"
    assert "turned into boxes" not in b.source


def test_unusable_masks_and_photographs(tmp_path):
    photo(tmp_path / "a.jpg")
    mask(tmp_path / "a.png", np.zeros((8, 10)))
    error(tmp_path, "a.png", "empty")
    mask(tmp_path / "a.png", np.ones((5, 5)))
    error(tmp_path, "a.png", "5x5", "10x8")
    mask(tmp_path / "a.png", np.arange(80).reshape(8, 10))
    error(tmp_path, "a.png", "80 different values")
    photo(tmp_path / "a.png")
    error(tmp_path, "a.jpg", "a.png", "both photographs")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"a\.png is empty"):
        read_supports(tmp_path)
    mask(tmp_path / "a.png", BOX)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-99])
    with pytest.raises(ImageError, match=r"a\.jpg is damaged"):
        read_supports(tmp_path)


def test_unusable_shapes(tmp_path):
    photo(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json")
    error(tmp_path, "a.json", "no objects")
    (tmp_path / "a.json").write_text('[{"type": "rectangle", "data": [90, 90, 99, 99]}]')
    error(tmp_path, "a.json", "covers no pixel")
    coco(tmp_path / "a.json", "other.jpg")
    error(tmp_path, "a.json", "no objects")


def test_photograph_without_annotation(tmp_path):
    photo(tmp_path / "a.jpg")
    mask(tmp_path / "a.png", BOX)
    photo(tmp_path / "b.jpg")
    caught = error(tmp_path, "b.jpg", "no annotation")
    for form in ("a_mask.png", "labelme", "Pascal VOC", "COCO", "SegmentationClass"):
        assert form in caught.hint
    coco(tmp_path / "all.json", "a.jpg")
    error(tmp_path, "b.jpg", "all.json")
    coco(tmp_path / "more.json", "b.jpg")
    error(tmp_path, "several COCO files: all.json, more.json")


def test_no_folder_or_no_photographs(tmp_path):
    error(tmp_path, "no photographs")
    error(tmp_path / "none", "does not exist")
    (tmp_path / "file").touch()
    error(tmp_path / "file", "not a folder")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "__MACOSX").mkdir()
    photo(tmp_path / "__MACOSX/._a.jpg")
    error(tmp_path, "no photographs")
