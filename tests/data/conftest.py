"""Small data sets that the tests make themselves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.data.dataset import SegmentationDataset, build_dataset
from arnet.data.scan import AreaFilter, scan_masks


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the unpacked photographs; skips where there is none."""
    folder = os.environ.get("ARNET_DATA")
    if not folder:
        pytest.skip("ARNET_DATA does not name a folder with VOCdevkit")
    return Path(folder)


class MemorySource:
    """Masks in memory; every photograph is black. Counts what it reads."""

    def __init__(self, masks: dict[str, np.ndarray]) -> None:
        self.masks = masks
        self.reads = 0

    def image(self, image_id: str) -> np.ndarray:
        return np.zeros((*self.masks[image_id].shape, 3), np.uint8)

    def mask(self, image_id: str) -> np.ndarray:
        self.reads += 1
        return self.masks[image_id].copy()


MakeDataset = Callable[..., SegmentationDataset]


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Builds a data set of classes 1..n from the classes that each image shows."""

    def make(shown: dict[str, tuple[int, ...]], count: int = 4, **options) -> SegmentationDataset:
        names = {c: f"class{c}" for c in range(1, count + 1)}
        masks = {}
        for image_id, present in shown.items():
            masks[image_id] = np.zeros((8, 8), np.uint8)
            masks[image_id][7] = 255
            for row, class_id in enumerate(present):
                masks[image_id][row] = class_id
        source = MemorySource(masks)
        scan = scan_masks(list(masks), source.mask, names, AreaFilter())
        options = {"split": "train", "novel_classes": ()} | options
        return build_dataset("toy", names, masks, source, scan, **options)

    return make


@pytest.fixture
def write_png() -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    return write
