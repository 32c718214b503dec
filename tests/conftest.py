"""Tiny models and data that the tests make themselves."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Before torch is imported, and for the processes that tests start: what is this small runs no
# faster on more threads, and one thread adds in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY = (
    "model.backbone.name=resnet18",
    "model.channels=8",
    "model.cbam_reduction=4",
    "model.aspp_rates=[1, 2]",
    "data.kind=folder",
    "data.fold=null",
    "data.image_size=65",
    "train.backbone_weights=random",
    "train.device=cpu",
    "train.validate_every=0",
    "train.stages=[{iterations: 4}]",
)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """What a test draws does not hang on the tests before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def operators_are_read_once() -> None:
    """torch.onnx reads the sources of all of its operators for every graph, a second each time."""
    if "torch" not in sys.modules:
        return
    # Not public: where a version of torch has it elsewhere, exports only take longer.
    with contextlib.suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))


@pytest.fixture
def make_config():
    """A configuration whose model has a width of 8, with overrides as on the command line."""
    from arnet.config_file import load_config

    return lambda *overrides: load_config(None, [*TINY, *overrides])


@pytest.fixture
def make_model(make_config):
    """A model with the same random weights each time; the arguments are fields of ModelConfig."""
    import torch

    from arnet.modeling import ARNet

    def make(*overrides: str) -> ARNet:
        torch.manual_seed(0)
        return ARNet(make_config(*(f"model.{override}" for override in overrides)).model)

    return make


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder data set of 30 photographs: a red square, a green disc, a blue bar, two in each."""
    root = tmp_path_factory.mktemp("shapes")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("1 square\n2 disc\n3 bar\n")
    rng = np.random.default_rng(0)
    for number in range(30):
        image, mask = draw_shapes(rng, [number % 3 + 1, (number + 1 + number // 3 % 2) % 3 + 1])
        Image.fromarray(image).save(root / "images" / f"p{number:02d}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{number:02d}.png")
    for name, numbers in (("val", range(0, 30, 5)), ("train", (n for n in range(30) if n % 5))):
        (root / f"{name}.txt").write_text("\n".join(f"p{number:02d}" for number in numbers))
    return root


def draw_shapes(rng: np.random.Generator, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise of about 70x80 pixels with a shape of each class, in opposite halves."""
    height, width = int(rng.integers(64, 80)), int(rng.integers(72, 90))
    image = rng.integers(60, 140, (height, width, 3)).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    for half, class_id in enumerate(classes):
        cy, cx = rng.integers(20, height - 20), half * width // 2 + rng.integers(14, 24)
        inside = {
            1: (abs(y - cy) < 12) & (abs(x - cx) < 12),
            2: (y - cy) ** 2 + (x - cx) ** 2 < 13**2,
            3: (abs(y - cy) < 6) & (abs(x - cx) < 16),
        }[class_id]
        image[inside] = 30
        image[inside, class_id - 1] = 230
        mask[inside] = class_id
    return image, mask
