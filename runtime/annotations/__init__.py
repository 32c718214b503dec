"""Annotation files, one parser each: labelme, Pascal VOC, COCO, SAM, YOLO, prompt lists.

Every parser gives one :class:`Annotation` per label, rasterised to the picture's size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arnet.runtime.annotations.coco import CocoFile, is_coco, parse_prompts, parse_sam
from arnet.runtime.annotations.common import Annotation, Kind, merge, read_json, size_mismatch
from arnet.runtime.annotations.labelme import parse_labelme
from arnet.runtime.annotations.rle import decode_rle, encode_rle
from arnet.runtime.annotations.shapes import boxes_from_mask, component_boxes
from arnet.runtime.annotations.voc import LabelNames, parse_voc, read_label_names
from arnet.runtime.annotations.yolo import parse_yolo, read_class_list
from arnet.runtime.errors import AnnotationError

__all__ = [
    "Annotation",
    "CocoFile",
    "Kind",
    "LabelNames",
    "boxes_from_mask",
    "component_boxes",
    "decode_rle",
    "encode_rle",
    "is_coco",
    "merge",
    "parse_json",
    "parse_voc",
    "parse_yolo",
    "read_class_list",
    "read_json",
    "read_label_names",
    "size_mismatch",
]


def parse_json(path: Path, picture: Path, size: tuple[int, int]) -> tuple[str, list[Annotation]]:
    """Rasterise a JSON annotation of one picture, its format recognised by its keys.

    Args:
        path: the JSON file: labelme, COCO, SA-1B, SAM or a prompt list.
        picture: the picture it belongs to.
        size: (H, W) of the picture, upright.

    Returns:
        The format's name and one annotation per label.

    Raises:
        AnnotationError: if the format is none of these or the file is malformed.
    """
    data: Any = read_json(path)
    if isinstance(data, list) and data and isinstance(data[0], dict):
        if "type" in data[0]:
            return "prompt list", parse_prompts(data, path, size)
        if "segmentation" in data[0]:  # what SAM's own scripts/amg.py writes
            return "SAM", parse_sam(data, path, size)
    if isinstance(data, dict) and "shapes" in data:
        return "labelme", parse_labelme(data, path, size)
    if is_coco(data):
        return "COCO", CocoFile.parse(data, path).annotations(picture, size)
    if isinstance(data, dict) and "annotations" in data:
        return "SA-1B", parse_sam(data["annotations"], path, size, data.get("image"))
    keys = ", ".join(map(str, list(data)[:8])) if isinstance(data, dict) else ""
    raise AnnotationError(
        f"{path} is none of the known annotation formats" + (f" (keys: {keys})." if keys else "."),
        "Known: labelme (shapes), COCO (images, annotations), SA-1B (annotations), SAM (a list with"
        " segmentation), prompt list (type, data). datumaro converts the rest.",
    )
