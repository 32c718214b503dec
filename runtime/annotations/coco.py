"""COCO JSON for a whole folder, the JSON of SAM and prompt lists for one picture.

The parts of a COCO polygon are united; a hole is not the even-odd of two parts (COCO writes masks
with holes as run-length encodings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.annotations.common import (
    Annotation,
    Kind,
    check_size,
    coordinates,
    merge,
    no_area,
    points_of,
    read_json,
    size_mismatch,
)
from arnet.runtime.annotations.rle import decode_rle
from arnet.runtime.annotations.shapes import fill_box, fill_polygon
from arnet.runtime.errors import AnnotationError


def is_coco(data: Any) -> bool:
    """Tell a COCO file by its keys."""
    return isinstance(data, dict) and all(
        isinstance(data.get(key), list) for key in ("images", "annotations")
    )


@dataclass(frozen=True)
class CocoFile:
    """A COCO file, ready to be asked about pictures.

    Attributes:
        path: the file.
        names: category names by id.
        pictures: entries of ``images`` by bare file name; several if sub-folders repeat it.
        objects: entries of ``annotations`` by image id.
    """

    path: Path
    names: dict[Any, str]
    pictures: dict[str, list[dict[str, Any]]]
    objects: dict[Any, list[dict[str, Any]]]

    @staticmethod
    def read(path: Path) -> CocoFile:
        """Read a COCO file.

        Raises:
            AnnotationError: if it is not one.
        """
        return CocoFile.parse(read_json(path), path)

    @staticmethod
    def parse(data: Any, path: Path) -> CocoFile:
        """Index the parsed JSON of a COCO file.

        Raises:
            AnnotationError: if an entry lacks one of the format's keys.
        """
        if not is_coco(data):
            raise AnnotationError(
                f"{path} is not COCO: it has no lists 'images' and 'annotations'.",
                "Export the annotations as COCO.",
            )
        pictures: dict[str, list[dict[str, Any]]] = {}
        objects: dict[Any, list[dict[str, Any]]] = {}
        try:
            names = {c["id"]: str(c["name"]) for c in data.get("categories") or ()}
            for entry in data["images"]:
                pictures.setdefault(_posix(entry["file_name"]).name, []).append(entry)
                objects[entry["id"]] = []
            for entry in data["annotations"]:
                objects.setdefault(entry["image_id"], []).append(entry)
                hash(entry.get("category_id"))  # a list here could not be looked up later
        except (KeyError, TypeError, AttributeError) as error:
            raise AnnotationError(
                f"{path}: an entry is not as COCO writes it ({type(error).__name__}: {error}).",
                "Export the annotations again.",
            ) from error
        return CocoFile(path, names, pictures, objects)

    def annotations(self, picture: Path, size: tuple[int, int]) -> list[Annotation]:
        """Rasterise what the file says about one picture.

        Crowd regions (``iscrowd``) are ignored pixels (255) for a label that also has ordinary
        objects in the picture; alone they are the object. CVAT and datumaro call every brush mask
        a crowd: with their key ``attributes`` it is an ordinary object.

        Args:
            picture: its path; matched by file name, with sub-folders only where names repeat.
            size: its (H, W), upright.

        Returns:
            One annotation per label; empty if the file does not mention the picture.

        Raises:
            AnnotationError: for malformed shapes, wrong sizes, ambiguous file names.
        """
        entries = self.pictures.get(picture.name, [])
        if len(entries) > 1:
            ends = [_posix(entry["file_name"]).parts for entry in entries]
            entries = [
                entry
                for entry, end in zip(entries, ends, strict=True)
                if picture.resolve().parts[-len(end) :] == end
            ]
            if len(entries) != 1:
                raise AnnotationError(
                    f"{self.path} lists {picture.name} {len(ends)} times, and the folders do not"
                    " tell which one is meant.",
                    "Give every picture its own name.",
                )
        if not entries:
            return []
        entry = entries[0]
        check_size(self.path, entry.get("width"), entry.get("height"), size)
        found = self.objects[entry["id"]]
        ordinary = {self._label(item) for item in found if not _is_crowd(item)}
        shapes = []
        for item in found:
            label = self._label(item)
            shape = _rasterise(item, label, self.path, size)
            if _is_crowd(item) and label in ordinary:
                shape = replace(shape, mask=shape.mask * np.uint8(255), shapes=0, crowds=1)
            shapes.append(shape)
        return merge(shapes)

    def _label(self, item: dict[str, Any]) -> str | None:
        category = item.get("category_id")
        return self.names.get(category, None if category is None else str(category))


def parse_sam(items: Any, path: Path, size: tuple[int, int], image: Any = None) -> list[Annotation]:
    """Unite the objects of one picture that have no labels, as SAM and SA-1B write them.

    Args:
        items: the objects of the parsed JSON.
        path: its file, for errors.
        size: (H, W) of the picture, upright.
        image: SA-1B's entry ``image`` with width and height, where there is one.

    Returns:
        One annotation without a label, or none.

    Raises:
        AnnotationError: for malformed shapes and wrong sizes.
    """
    if isinstance(image, dict):
        check_size(path, image.get("width"), image.get("height"), size)
    return merge(_rasterise(item, None, path, size) for item in _entries(items, path))


def parse_prompts(data: list[Any], path: Path, size: tuple[int, int]) -> list[Annotation]:
    """Fill the rectangles of a prompt list ``[{"type": "rectangle", "data": [x1, y1, x2, y2]}]``.

    Args:
        data: the parsed JSON.
        path: its file, for errors.
        size: (H, W) of the picture, upright.

    Returns:
        One annotation of kind "box" per label.

    Raises:
        AnnotationError: for points (no area), unknown types and malformed rectangles.
    """
    return merge(_prompts(_entries(data, path), path, size))


def _prompts(
    prompts: Iterable[dict[str, Any]], path: Path, size: tuple[int, int]
) -> Iterator[Annotation]:
    for prompt in prompts:
        if prompt.get("type") == "point":
            raise no_area(path, "point")
        if prompt.get("type") != "rectangle":
            raise AnnotationError(
                f"{path}: unknown prompt type '{prompt.get('type')}'.", "Known: rectangle."
            )
        (x1, y1), (x2, y2) = points_of(prompt.get("data"), 2, path, "rectangle")
        label = prompt.get("label")
        mask = fill_box(x1, y1, x2, y2, size).astype(np.uint8)
        yield Annotation(None if label is None else str(label), mask, "box")


def _rasterise(
    item: dict[str, Any], label: str | None, path: Path, size: tuple[int, int]
) -> Annotation:
    segmentation = item.get("segmentation")
    kind: Kind = "mask"
    if isinstance(segmentation, dict):
        try:
            mask = decode_rle(segmentation) > 0
        except AnnotationError as error:
            raise AnnotationError(f"{path}: {error.message}", error.hint) from error
        if mask.shape != size:
            raise size_mismatch(path, mask.shape, size)
    elif parts := _polygons(segmentation, path):
        mask = np.zeros(size, np.bool_)
        for part in parts:
            mask |= fill_polygon(part, size)
    elif item.get("bbox"):
        (x, y), (width, height) = points_of(item["bbox"], 2, path, "bbox")
        mask = fill_box(x, y, x + width, y + height, size)
        kind = "box"
    else:
        raise AnnotationError(
            f"{path}: an object has neither a segmentation of at least 3 points nor a bbox.",
            "Export the annotations again.",
        )
    return Annotation(label, mask.astype(np.uint8), kind)


def _polygons(segmentation: Any, path: Path) -> list[NDArray[np.float64]]:
    """The parts of a polygon, (N, 2) each; what has no area is left out, as by pycocotools."""
    parts = segmentation if isinstance(segmentation, list) else [segmentation or []]
    polygons = (coordinates(part, path, "polygon") for part in parts)
    return [polygon for polygon in polygons if len(polygon) >= 3]


def _is_crowd(item: dict[str, Any]) -> bool:
    return bool(item.get("iscrowd")) and "attributes" not in item


def _entries(data: Any, path: Path) -> list[dict[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise AnnotationError(f"{path}: not a list of objects.", "Export the annotations again.")
    return data


def _posix(file_name: str) -> PurePosixPath:
    return PurePosixPath(file_name.replace("\\", "/"))
