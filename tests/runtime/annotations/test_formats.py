"""Pascal VOC, COCO, SAM, prompt lists: pixels by hand, errors that name the file."""

from pathlib import Path

import numpy as np
import pytest
from annotation_files import (
    FLAT_SQUARE,
    PICTURE,
    SIZE,
    SQUARE,
    SQUARE_ROWS,
    labelme,
    parse,
    png,
    rows,
    shape,
)

from arnet.runtime.annotations import CocoFile, parse_json, parse_voc, read_label_names
from arnet.runtime.errors import AnnotationError


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (labelme(shape("blob", SQUARE)), "unknown shape type 'blob'"),
        (labelme(shape("polygon", SQUARE[:2])), "2 points"),
        (labelme(shape("rectangle", SQUARE)), "4 points; it needs 2"),
        (labelme(shape("polygon", [["x", 1]])), "pairs of numbers"),
        (labelme(shape("polygon", None)), "a.json"),
        (labelme(shape("polygon", [[1, float("nan")]] * 3)), "not finite"),
        (labelme(shape("mask", [[0, 0], [1, 1]], mask="no")), "cannot be decoded"),
        (labelme(shape("mask", [[0, 0], [1, 1]])), "cannot be decoded"),
        (
            labelme(shape("mask", [[0, 0], [1, 1]], mask=png(np.ones((3, 3), np.uint8)))),
            "3x3 pixels and a box for 2x2",
        ),
        (labelme("x"), "list of shapes"),
        (labelme(shape("polygon", SQUARE), imageWidth=60, imageHeight=40), "60x40.*6x4"),
        (labelme(shape("polygon", SQUARE), imageWidth=4, imageHeight=6), "4x6.*6x4"),
        ({"version": 1, "result": []}, r"none of the known.*keys: version, result"),
        ([], "none of the known"),
        ({"annotations": 3}, "a.json"),
        ({"annotations": [{"segmentation": {"size": [4, 6], "counts": [1]}}]}, "a.json.*covers 1"),
        ({"annotations": [{"segmentation": {"size": [2, 3], "counts": [6]}}]}, "3x2.*6x4"),
        ({"annotations": [{"segmentation": []}]}, "neither"),
        ({"annotations": [{"segmentation": [[1, 1, 4, 3]]}]}, "neither .* of at least 3 points"),
        ({"annotations": [{"segmentation": "x"}]}, "pairs of numbers"),
        ([{"segmentation": {"size": [2, 3], "counts": [6]}}], "3x2.*6x4"),
        ([{"segmentation": [FLAT_SQUARE]}, 3], "not a list of objects"),
        ([{"type": "point", "data": [1, 1]}], "a point has no area"),
        ([{"type": "star"}], "'star'"),
        ([{"type": "rectangle", "data": [1, 2, 3]}], "pairs of numbers"),
    ],
)
def test_errors_name_the_file(tmp_path, data, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        parse(tmp_path, data)
    assert "a.json" in caught.value.message
    assert caught.value.hint


def test_a_size_with_width_and_height_swapped_gets_its_own_hint(tmp_path):
    with pytest.raises(AnnotationError) as caught:
        parse(tmp_path, labelme(imageWidth=4, imageHeight=6))
    assert "by a quarter" in caught.value.hint


def test_broken_json(tmp_path):
    (tmp_path / "a.json").write_text('{"shapes": [')
    with pytest.raises(AnnotationError, match=r"a\.json is not readable JSON"):
        parse_json(tmp_path / "a.json", PICTURE, SIZE)


def test_prompt_list(tmp_path):
    data = [
        {"type": "rectangle", "data": [1, 1, 4, 3]},
        {"type": "rectangle", "data": [0, 0, 1, 1], "label": "dog"},
    ]
    form, [unnamed, dog] = parse(tmp_path, data)
    assert (form, unnamed.label, unnamed.kind, dog.label) == ("prompt list", None, "box", "dog")
    assert rows(unnamed.mask) == SQUARE_ROWS


def test_sam(tmp_path):
    square = {"size": [4, 6], "counts": [5, 2, 2, 2, 2, 2, 9]}
    corner = {"size": [4, 6], "counts": [0, 1, 23]}
    image = {"width": 6, "height": 4, "file_name": "sa_1.jpg"}
    # A list is what scripts/amg.py --convert-to-rle writes, the rest is of SA-1B.
    objects = [{"segmentation": square, "area": 6, "bbox": [1, 1, 2, 1]}, {"segmentation": corner}]
    for name, data in (("SA-1B", {"image": image, "annotations": objects}), ("SAM", objects)):
        form, [found] = parse(tmp_path, data)
        assert (form, found.label, found.kind, found.shapes) == (name, None, "mask", 2)
        assert rows(found.mask) == ["#.....", *SQUARE_ROWS[1:]]


def coco(*objects, images=None):
    return {
        "images": images or [{"id": 7, "file_name": "train/a.jpg", "width": 6, "height": 4}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "iscrowd": 0, **item} for item in objects
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


CORNER = [0, 0, 1, 0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("item", "expected", "kind"),
    [
        ({"segmentation": [FLAT_SQUARE]}, SQUARE_ROWS, "mask"),
        ({"segmentation": [FLAT_SQUARE, CORNER]}, ["#.....", *SQUARE_ROWS[1:]], "mask"),
        # Parts are united: a part inside another is no hole.
        ({"segmentation": [FLAT_SQUARE, [2, 1, 3, 1, 3, 2, 2, 2]]}, SQUARE_ROWS, "mask"),
        ({"segmentation": {"size": [4, 6], "counts": [5, 2, 2, 2, 2, 2, 9]}}, SQUARE_ROWS, "mask"),
        # Compressed: 5 2 2, then the differences 2-2, 2-2, 2-2, 9-2.
        ({"segmentation": {"size": [4, 6], "counts": "5220007"}}, SQUARE_ROWS, "mask"),
        # Parts without area are left out, as by pycocotools.
        ({"segmentation": [[0, 0, 6, 4], FLAT_SQUARE, [5, 3], []]}, SQUARE_ROWS, "mask"),
        ({"segmentation": [[0, 0, 6, 4]], "bbox": [1, 1, 3, 2]}, SQUARE_ROWS, "box"),
        ({"segmentation": [], "bbox": [1, 1, 3, 2]}, SQUARE_ROWS, "box"),
        ({"bbox": [1, 1, 3, 2]}, SQUARE_ROWS, "box"),
    ],
)
def test_coco_objects(tmp_path, item, expected, kind):
    form, [annotation] = parse(tmp_path, coco(item))
    assert rows(annotation.mask) == expected
    assert (form, annotation.label, annotation.kind) == ("COCO", "cat", kind)


def test_coco_crowds(tmp_path):
    crowd = {"segmentation": {"size": [4, 6], "counts": [0, 8, 16]}, "iscrowd": 1}
    _, [cat] = parse(tmp_path, coco(crowd, {"segmentation": [FLAT_SQUARE]}))
    assert rows(cat.mask) == ["??....", "?###..", "?###..", "??...."]
    assert (cat.shapes, cat.crowds) == (1, 1)
    _, [cat, dog] = parse(tmp_path, coco({"segmentation": [CORNER]}, {**crowd, "category_id": 2}))
    assert rows(cat.mask)[0] == "#....."
    assert rows(dog.mask) == ["##...."] * 4  # a crowd alone is the object
    assert (dog.shapes, dog.crowds) == (1, 0)


def test_a_brush_mask_of_cvat_is_an_object_beside_a_polygon(tmp_path):
    """datumaro, which exports for CVAT, calls every mask a crowd and writes ``attributes``."""
    extra = {"attributes": {"occluded": False}}
    brush = {"segmentation": {"size": [4, 6], "counts": [0, 4, 20]}, "iscrowd": 1, **extra}
    _, [cat] = parse(tmp_path, coco(brush, {"segmentation": [FLAT_SQUARE], **extra}))
    assert rows(cat.mask) == ["#.....", "####..", "####..", "#....."]
    assert (cat.shapes, cat.crowds) == (2, 0)


def test_coco_pictures_match_by_name():
    images = [
        {"id": 7, "file_name": "x/a.jpg"},
        {"id": 8, "file_name": "y\\a.jpg"},
        {"id": 9, "file_name": "b.jpg", "width": 9, "height": 9},
    ]
    box = {"bbox": [1, 1, 3, 2]}
    file = CocoFile.parse(coco(box, {**box, "image_id": 9}, images=images), Path("i.json"))
    assert len(file.annotations(Path("/data/x/a.jpg"), SIZE)) == 1
    assert file.annotations(Path("/data/y/a.jpg"), SIZE) == []  # listed, without objects
    assert file.annotations(Path("/data/c.jpg"), SIZE) == []
    with pytest.raises(AnnotationError, match=r"a\.jpg 2 times"):
        file.annotations(Path("/data/z/a.jpg"), SIZE)
    with pytest.raises(AnnotationError, match=r"9x9.*6x4"):
        file.annotations(Path("b.jpg"), SIZE)


@pytest.mark.parametrize(
    "data",
    [
        {"images": [{}], "annotations": []},
        {"images": [], "annotations": [{}]},
        {"images": [3], "annotations": []},
        {"images": [{"id": [], "file_name": "a.jpg"}], "annotations": []},
        {"images": [], "annotations": [{"image_id": 1, "category_id": {}}]},
    ],
)
def test_malformed_coco(data):
    with pytest.raises(AnnotationError, match=r"i\.json"):
        CocoFile.parse(data, Path("i.json"))


VOC = """<annotation><size><width>{width}</width><height>4</height></size>
<object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>{xmax}</xmax><ymax>3.2</ymax>
</bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>6</xmax><ymax>4</ymax>
</bndbox></part></object></annotation>"""


def test_voc_boxes_count_from_one_and_include_both_ends(tmp_path):
    (tmp_path / "a.xml").write_text(VOC.format(width=6, xmax=4))
    [annotation] = parse_voc(tmp_path / "a.xml", SIZE)
    assert rows(annotation.mask) == SQUARE_ROWS
    assert (annotation.label, annotation.kind) == ("cat", "box")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VOC.format(width=8, xmax=4), "8x4.*6x4"),
        (VOC.format(width=6, xmax=1), "'cat' has no usable box"),
        (VOC.format(width=6, xmax=""), "'cat' has no usable box"),
        (VOC.format(width=6, xmax="x"), "'cat' has no usable box"),
        ("<annotation><object><name>cat</name><polygon/></object></annotation>", "no <bndbox>"),
        ("<annotations/>", "starts with <annotations>"),
        ("<annotation>", "not readable XML"),
        ("", "not readable XML"),
    ],
)
def test_voc_errors(tmp_path, text, message):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(AnnotationError, match=message) as caught:
        parse_voc(tmp_path / "a.xml", SIZE)
    assert "a.xml" in caught.value.message


def test_label_names(tmp_path):
    path = tmp_path / "labelmap.txt"
    path.write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:64,0,0::\n")
    names = read_label_names(path)
    assert names.names == {1: "cat"}
    assert names.colours == {(0, 0, 0): 0, (64, 0, 0): 1}
    path.write_text("cat\n\ndog\n")
    assert read_label_names(path).names == {1: "cat", 2: "dog"}
    assert read_label_names(path).colours == {}
    path.write_text("__ignore__\n_background_\ncat\n")
    assert read_label_names(path).names == {1: "cat"}
    path.write_text("cat:red::")
    with pytest.raises(AnnotationError, match="red,green,blue"):
        read_label_names(path)
