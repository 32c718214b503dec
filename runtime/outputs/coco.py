"""What ``arnet infer`` found as COCO: to correct in a labelling tool, and to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arnet.runtime.files import write_json
from arnet.runtime.outputs.results import Result


def write_coco(path: Path, results: Sequence[Result]) -> None:
    """Write masks as COCO annotations, whole or not at all.

    Each class of each photograph that was found is one annotation with a compressed RLE; a thing
    that is there twice is not told apart. Files are named as their masks are: see ``Result.name``.

    Args:
        path: the file to write.
        results: one per photograph, each with the same classes.

    Raises:
        OutputError: the file cannot be written.
    """
    names = [segment.label for segment in results[0].segments] if results else []
    categories = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, result in enumerate(results, start=1):
        height, width = result.size
        name = f"{result.name or result.path.stem}{result.path.suffix}"
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for segment in result.segments:
            if not segment.area:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[segment.label],
                    "segmentation": segment.rle,
                    "area": segment.area,
                    "bbox": segment.bbox,
                    "iscrowd": 0,
                    "score": segment.score,
                }
            )
    write_json(
        path,
        {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        },
    )
