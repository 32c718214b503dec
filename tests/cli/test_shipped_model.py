"""The model that comes with arnet, as a new user meets it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.export.parity import Parity
from arnet.runtime import shipped
from arnet.runtime.bundle import Bundle
from arnet.runtime.files import sha256_of

HORSE = 2  # its number in examples/truth


@pytest.fixture
def queries(examples: Path) -> Path:
    return examples / "queries" / "horse.jpg"


def iou(found: np.ndarray, label: np.ndarray) -> float:
    seen = label != 255
    wanted = (label == HORSE) & seen
    return float((found & wanted).sum() / ((found & seen) | wanted).sum())


@pytest.mark.parametrize(("folder", "least"), [("horse", 0.75), ("horse-boxes", 0.6)])
def test_a_horse_is_found_without_any_option(
    run, examples: Path, queries: Path, tmp_path: Path, folder: str, least: float
) -> None:
    arguments = ["--support", examples / folder, "--query", queries, "--out", tmp_path]
    finished = run("infer", *arguments)
    assert finished.code == 0, finished.err
    truth = np.array(Image.open(examples / "truth" / "horse.png"))
    found = np.array(Image.open(tmp_path / "horse_mask.png")) > 0
    assert iou(found, truth) > least
    assert iou(found[:, ::-1], truth) < least and iou(np.ones_like(found), truth) < least


def test_the_bundle_is_of_the_checkpoint_beside_it_and_was_judged_by_today_s_gate() -> None:
    bundle = Bundle.open(shipped.find(Path(shipped.DEFAULT), shipped.BUNDLE))
    checkpoint = shipped.find(Path(shipped.DEFAULT), shipped.CHECKPOINT)
    assert bundle.manifest.checkpoint.sha256 == sha256_of(checkpoint)
    record = bundle.manifest.parity
    assert record is not None and record["passed"]
    assert {field.name for field in fields(Parity)} <= record.keys()


def test_they_are_as_small_as_promised() -> None:
    sizes = {path.name: path.stat().st_size / 1e6 for path in shipped.FOLDER.glob("arnet-*")}
    assert sizes["arnet-r50.zip"] < 45 and sizes["arnet-r50.safetensors"] < 45
    assert sizes["arnet-r18.safetensors"] < 12
