"""YOLO text labels: pixels by hand, and errors with the number of the line."""

import pytest
from annotation_files import SIZE, SQUARE_ROWS, rows

from arnet.runtime.annotations import parse_yolo, read_class_list
from arnet.runtime.errors import AnnotationError

# Of a picture of 6x4 pixels: the square from (1, 1) to (4, 3), and the first pixel.
POLYGON = "0 0.166667 0.25 0.666667 0.25 0.666667 0.75 0.166667 0.75"
BOX = "0 0.416667 0.5 0.5 0.5"
CORNER = "1 0.083333 0.125 0.166667 0.25"


@pytest.fixture
def parse(tmp_path):
    def parse(text, names=("cat", "dog")):
        (tmp_path / "a.txt").write_text(text)
        return parse_yolo(tmp_path / "a.txt", names, SIZE)

    return parse


@pytest.mark.parametrize(("line", "kind"), [(POLYGON, "mask"), (BOX, "box")])
def test_polygons_and_boxes(parse, line, kind):
    [found] = parse(line)
    assert rows(found.mask) == SQUARE_ROWS
    assert (found.label, found.kind, found.shapes) == ("cat", kind, 1)


def test_objects_of_a_class_are_united(parse):
    cat, dog = parse(f"{POLYGON}\n{CORNER}\r\n\n  0\t0.75 0.875 0.5 0.25\n")
    assert rows(cat.mask) == ["......", ".###..", ".###..", "...###"]
    assert (cat.kind, cat.shapes) == ("box", 2)
    assert rows(dog.mask) == ["#.....", "......", "......", "......"]


def test_without_names_the_number_is_the_label(parse):
    assert [found.label for found in parse(f"{CORNER}\n{BOX}", names=())] == ["1", "0"]


def test_a_rounded_coordinate_may_lie_a_little_outside(parse):
    [found] = parse("0 -0.004 0 1.004 0 1.004 1 -0.004 1")
    assert rows(found.mask) == ["######"] * 4


def test_no_lines_are_no_objects(parse):
    assert parse("\n \n") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat 0.5 0.5 0.2 0.2", "'cat' is not the number of a class"),
        ("-1 0.5 0.5 0.2 0.2", "'-1' is not the number of a class"),
        ("0.0 0.5 0.5 0.2 0.2", "'0.0' is not the number"),
        ("2 0.5 0.5 0.2 0.2", "class 2 has no name, of 2 from 0 on"),
        ("0 0.5 0.5 0.2", "3 coordinates"),
        ("0 0.5 0.5 0.2 0.2 0.9", "5 coordinates"),
        ("0", "0 coordinates"),
        ("0 0.5 0.5 0.2 x", "'x'"),
        ("0 320 240 50 60", "not between 0 and 1"),
        ("0 0.5 0.5 0.2 nan", "not between 0 and 1"),
        ("9" * 5000 + " 0.5 0.5 0.2 0.2", "digits"),
    ],
)
def test_a_malformed_line_is_told_by_its_number(parse, line, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        parse(f"{BOX}\n\n{line}\n{BOX}\n")
    assert "a.txt, line 3 is no YOLO label: " in caught.value.message
    assert "class" in caught.value.hint


def test_text_that_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    for read in (read_class_list, lambda path: parse_yolo(path, (), SIZE)):
        with pytest.raises(AnnotationError, match=r"a\.txt cannot be read"):
            read(tmp_path / "a.txt")


def test_a_class_list_counts_from_0(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n\n big dog \n")
    assert read_class_list(tmp_path / "classes.txt") == ["cat", "", "big dog"]
