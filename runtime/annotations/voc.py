"""Pascal VOC: XML boxes, and the names that go with index masks."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arnet.runtime.annotations.common import Annotation, check_size, merge, read_lines
from arnet.runtime.errors import AnnotationError
from arnet.runtime.images import Colour


@dataclass(frozen=True)
class LabelNames:
    """What the values of index masks mean.

    Attributes:
        names: name of each value; value 0 (background) is left out.
        colours: value of each RGB colour, for painted masks; may be empty.
    """

    names: dict[int, str] = field(default_factory=dict)
    colours: dict[Colour, int] = field(default_factory=dict)


def parse_voc(path: Path, size: tuple[int, int]) -> list[Annotation]:
    """Fill the boxes of a Pascal VOC file (pixel coordinates from 1, both ends inclusive).

    Args:
        path: the XML file.
        size: (H, W) of the picture, upright.

    Returns:
        One annotation of kind "box" per label.

    Raises:
        AnnotationError: if it is not VOC, a box is missing or malformed, or the size differs.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise AnnotationError(
            f"{path} is not readable XML ({error}).", "Export the annotations again."
        ) from error
    if root.tag != "annotation":
        raise AnnotationError(
            f"{path} starts with <{root.tag}>; Pascal VOC starts with <annotation>.",
            "Export as Pascal VOC, COCO or segmentation masks (datumaro converts the rest).",
        )
    check_size(path, root.findtext("size/width"), root.findtext("size/height"), size)
    return merge(_boxes(root, path, size))


def _boxes(root: ElementTree.Element, path: Path, size: tuple[int, int]) -> Iterator[Annotation]:
    for item in root.findall("object"):
        label = (item.findtext("name") or "").strip() or None
        box = item.find("bndbox")
        try:
            if box is None:
                raise ValueError("no <bndbox>")
            x1, y1, x2, y2 = (
                round(float(box.findtext(key) or "nan")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            if x2 < x1 or y2 < y1:
                raise ValueError(f"{x1}..{x2}, {y1}..{y2}")
        except (ValueError, OverflowError) as error:
            raise AnnotationError(
                f"{path}: the object '{label}' has no usable box ({error}).",
                "Pascal VOC needs <bndbox> with xmin, ymin, xmax, ymax. Polygons in XML are another"
                " format: export as COCO or segmentation masks.",
            ) from error
        mask = np.zeros(size, np.uint8)
        mask[max(y1 - 1, 0) : max(y2, 0), max(x1 - 1, 0) : max(x2, 0)] = 1
        yield Annotation(label, mask, "box")


def read_label_names(path: Path) -> LabelNames:
    """Read ``labelmap.txt`` (``name:r,g,b:…``) or ``classes.txt`` (one name per line).

    The first line has value 0 if it is the background and value 1 otherwise; empty lines and lines
    from ``#`` on are left out, and so is labelme's ``__ignore__``. Where every line begins with a
    number of its own, as ``arnet train`` takes them (``3 belt``), that is the value.

    Args:
        path: the file.

    Returns:
        The names and, where given, the colours.

    Raises:
        AnnotationError: if it cannot be read or a colour is malformed.
    """
    lines = label_lines(path)
    if (numbered := _numbered(lines)) is not None:
        return LabelNames(numbered)
    entries = [line.split(":") for line in lines]
    background = bool(entries) and entries[0][0].strip(" _").lower() == "background"
    names: dict[int, str] = {}
    colours: dict[Colour, int] = {} if background else {(0, 0, 0): 0}
    for value, entry in enumerate(entries, start=0 if background else 1):
        if value > 0:
            names[value] = entry[0].strip()
        if len(entry) > 1 and entry[1].strip():
            try:
                red, green, blue = (int(part) for part in entry[1].split(","))
            except ValueError as error:
                raise AnnotationError(
                    f"{path}: '{':'.join(entry)}' has no colour of the form red,green,blue.",
                    "Write lines such as cat:64,0,0::",
                ) from error
            colours[red, green, blue] = value
    return LabelNames(names, colours if len(colours) > 1 else {})


def label_lines(path: Path) -> list[str]:
    """The lines of such a file that name something, stripped; see :func:`read_label_names`.

    Raises:
        AnnotationError: if it cannot be read.
    """
    lines = read_lines(path)
    stripped = [line.strip() for line in lines if line.strip()[:1] not in ("", "#")]
    return [line for line in stripped if line.partition(":")[0].strip() != "__ignore__"]


def label_number(line: str) -> int | None:
    """The number that such a line begins with, as in ``3 belt``; None where it has none."""
    field = line.split(maxsplit=1)
    return int(field[0]) if len(field) == 2 and field[0].isdecimal() else None


def _numbered(lines: list[str]) -> dict[int, str] | None:
    """The names by number, 0 left out, where every line has a number of its own."""
    numbers = [label_number(line) for line in lines]
    if None in numbers or len(set(numbers)) < len(lines):
        return None
    named = zip(numbers, lines, strict=True)
    return {number: line.split(maxsplit=1)[1] for number, line in named if number}
