"""COCO-20i: MS COCO, its 80 classes in four interleaved folds."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from arnet.data.dataset import (
    Novel,
    SegmentationDataset,
    Split,
    build_dataset,
    check_split,
    interleaved_fold,
)
from arnet.data.files import require_files
from arnet.data.scan import Presence, Scan, cached_scan, files_key
from arnet.runtime.annotations.common import IGNORE
from arnet.runtime.errors import DataError, MissingDependencyError, install
from arnet.runtime.images import read_image

FOLDS = 4


@dataclass(frozen=True)
class CocoSource:
    """Photographs in a folder, masks painted from the instances of a COCO annotation file.

    Class ids are contiguous: the categories in the order of their COCO ids, from 1. Where instances
    overlap the smaller one lies on top. Regions marked ``iscrowd`` are 255 where no instance lies.

    Attributes:
        annotation_file: ``instances_*.json``.
        image_dir: folder of the photographs.
    """

    annotation_file: Path
    image_dir: Path

    @cached_property
    def coco(self) -> Any:
        """The opened annotation file, a ``pycocotools.coco.COCO``."""
        try:
            from pycocotools.coco import COCO
        except ImportError as error:
            raise MissingDependencyError(
                "pycocotools is not installed", install("train")
            ) from error
        require_files(
            "annotation files",
            [self.annotation_file],
            f"download the COCO annotations to {self.annotation_file.parent}",
        )
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
                found = COCO(str(self.annotation_file))
            for image in found.imgs.values():
                int(image["id"]), image["file_name"], int(image["height"]), int(image["width"])
            for annotation in found.anns.values():
                float(annotation["area"]), found.cats[annotation["category_id"]]
            return found
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise DataError(
                f"{self.annotation_file} is no COCO instance file: {error}",
                "it must be JSON with images, annotations and categories",
            ) from error

    @cached_property
    def class_of(self) -> dict[int, int]:
        """Contiguous class id, from 1, of each COCO category id."""
        return {c: n for n, c in enumerate(sorted(self.coco.getCatIds()), start=1)}

    @cached_property
    def class_names(self) -> dict[int, str]:
        """Name of each contiguous class id."""
        return {n: str(self.coco.cats[c]["name"]) for c, n in self.class_of.items()}

    @cached_property
    def ids(self) -> list[str]:
        """Ids of all images of the file, ascending."""
        return [str(i) for i in sorted(self.coco.getImgIds())]

    def image_path(self, image_id: str) -> Path:
        """Path of a photograph."""
        return self.image_dir / str(self.coco.imgs[int(image_id)]["file_name"])

    def image(self, image_id: str) -> np.ndarray:
        """Photograph, uint8 RGB of shape (H, W, 3)."""
        return read_image(self.image_path(image_id))

    def mask(self, image_id: str) -> np.ndarray:
        """Index mask, uint8 of shape (H, W)."""
        size = self.coco.imgs[int(image_id)]
        mask = np.zeros((size["height"], size["width"]), np.uint8)
        # Crowds lie lowest, then large instances: a small one is never hidden.
        annotations = sorted(
            self.coco.imgToAnns[int(image_id)],
            key=lambda a: (not a.get("iscrowd", 0), -float(a["area"])),
        )
        for annotation in annotations:
            own = self.class_of[annotation["category_id"]]
            value = IGNORE if annotation.get("iscrowd", 0) else own
            mask[self.coco.annToMask(annotation) > 0] = value
        return mask

    def scan(self, min_pixels: int) -> Scan:
        """Classes of every image from the areas that the file states, without painting."""
        scan: Scan = {}
        for image_id in self.ids:
            areas: defaultdict[int, float] = defaultdict(float)
            for annotation in self.coco.imgToAnns[int(image_id)]:
                if not annotation.get("iscrowd", 0):
                    areas[self.class_of[annotation["category_id"]]] += float(annotation["area"])
            pixels = {c: round(areas[c]) for c in sorted(areas)}
            usable = tuple(c for c, n in pixels.items() if n >= min_pixels)
            scan[image_id] = Presence(pixels, usable)
        return scan


def coco(
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    *,
    year: int = 2014,
    classes: Sequence[int] | None = None,
    min_pixels: int = 2 * 32 * 32,
    cache_dir: str | Path | None = None,
) -> SegmentationDataset:
    """Opens COCO-20i with interleaved folds, the convention of PFENet, HSNet, BAM and others.

    The novel classes of fold f are those whose number, counted from 0 over the contiguous classes,
    leaves f when divided by 4.

    Args:
        root: folder with ``annotations/instances_{train,val}YEAR.json`` and ``{train,val}YEAR/``.
        split: ``"train"`` offers the base classes, ``"val"`` the novel ones.
        fold: 0..3; None holds no class out.
        novel: what becomes of training images with novel classes, ``"background"`` or ``"drop"``;
            see :func:`~arnet.data.dataset.build_dataset`.
        year: 2014 as most papers, or 2017.
        classes: class ids, 1..80, to offer in place of those of the split.
        min_pixels: least area of a class to be a support or a query, in pixels of the photograph;
            the default is that of PFENet. The sum of the areas stated in the file is compared, so
            overlaps count twice.
        cache_dir: folder where the scan of the annotations is kept; None scans every time.

    Raises:
        DataError: the annotations or the folder of photographs are missing or damaged.
        MissingDependencyError: pycocotools is not installed.
    """
    check_split(split)
    root = Path(root)
    source = CocoSource(
        annotation_file=root / "annotations" / f"instances_{split}{year}.json",
        image_dir=root / f"{split}{year}",
    )
    if not source.image_dir.is_dir():
        raise DataError(
            f"the folder {source.image_dir} is missing", "unpack the photographs of COCO there"
        )
    class_names = source.class_names
    key = f"coco {min_pixels}\n{files_key([source.annotation_file])}"
    scan = cached_scan(
        None if cache_dir is None else Path(cache_dir), key, lambda: source.scan(min_pixels)
    )
    return build_dataset(
        f"coco{year} {'all classes' if fold is None else f'fold {fold}'} {split}",
        class_names,
        source.ids,
        source,
        scan,
        split=split,
        novel_classes=() if fold is None else interleaved_fold(sorted(class_names), fold, FOLDS),
        novel=novel,
        classes=classes,
    )
