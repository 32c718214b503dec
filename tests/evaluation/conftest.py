"""A data set in memory whose photographs show their own classes as colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arnet.checkpoint import load_checkpoint, save_checkpoint
from arnet.data.dataset import SegmentationDataset, build_dataset
from arnet.data.scan import AreaFilter, scan_masks

COLOURS = np.array([[60, 60, 60], [230, 30, 30], [30, 230, 30]], np.uint8)


class PaintedSource:
    """Photographs that are their masks in colours, of different sizes."""

    def __init__(self, masks: dict[str, np.ndarray]) -> None:
        self.masks = masks

    def image(self, image_id: str) -> np.ndarray:
        return COLOURS[np.where(self.masks[image_id] == 255, 0, self.masks[image_id])]

    def mask(self, image_id: str) -> np.ndarray:
        return self.masks[image_id].copy()


@pytest.fixture
def painted() -> SegmentationDataset:
    """Ten photographs from 40x50 to 58x77, class 1 red or 2 green, with a border of 255."""
    masks = {}
    for number in range(10):
        mask = np.zeros((40 + 2 * number, 50 + 3 * number), np.uint8)
        mask[8:31, 4 + number : 30 + number] = 255
        mask[9:30, 5 + number : 29 + number] = number % 2 + 1
        mask[9:14, 5 + number : 10 + number] = 0  # not a rectangle: its box is larger
        masks[f"p{number}"] = mask
    names = {1: "red", 2: "green"}
    source = PaintedSource(masks)
    scan = scan_masks(list(masks), source.mask, names, AreaFilter())
    return build_dataset("painted", names, masks, source, scan, split="val", novel_classes=())


@pytest.fixture
def checkpoint(make_model, make_config, shapes, tmp_path):
    path, model = tmp_path / "checkpoint.safetensors", make_model()
    with torch.no_grad():  # an untrained model that marks some pixels and not others
        for part in (model.mpm[0].conv3, model.mpm[1].conv3, model.mrm.aspp.classify):
            part.weight.normal_()
    save_checkpoint(path, model, make_config(f"data.root={shapes}"), {"iteration": 9})
    return load_checkpoint(path)
