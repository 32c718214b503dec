"""Configurations and data that ``arnet train`` and ``arnet eval`` refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

Fails = Callable[..., str]

# Configurations.


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.batchsize=8", "batch_size"),
        ("model.backbone.stride=8", "output_stride"),
        ("train.stages=[{iterations: 5, shot: 1}]", "shots"),
        ("data.members=[{name: a, kind: davis, bogus: 1}]", "limit"),
    ],
)
def test_an_unknown_key_is_refused_with_the_keys_there_are(
    override: str, named: str, fails: Fails, data: Path, tmp_path: Path
) -> None:
    message = fails("train", override, "--data", data, "--out", tmp_path / "run")
    assert "unknown key" in message
    assert named in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "override",
    [
        *("train.batch_size=many", "model.channels=-1", "data.kind=film", "train=fast", "lonely"),
        "data.members=[{name: a/b, kind: davis}]",
    ],
)
def test_a_value_of_the_wrong_type_is_refused(
    override: str, fails: Fails, data: Path, tmp_path: Path
) -> None:
    message = fails("train", override, "--data", data, "--out", tmp_path / "run")
    assert override.partition("=")[0] in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["model: [", "just words", "model:\n  chanels: 64\n"])
def test_a_configuration_file_with_a_mistake_is_named(
    text: str, fails: Fails, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mistake.yaml"
    path.write_text(text)
    assert str(path) in fails("train", "--config", path, "--data", data)


def test_training_without_data_asks_for_it(fails: Fails, tmp_path: Path) -> None:
    message = fails("train", "train.backbone_weights=random", "--out", tmp_path / "run")
    assert "--data DIR" in message
    assert not (tmp_path / "run").exists()


# Data.


def test_data_with_missing_masks_name_them(train_fails: Fails, data: Path) -> None:
    (data / "masks" / "04.png").unlink()
    (data / "masks" / "05.png").unlink()
    message = train_fails()
    assert "2 masks in" in message
    assert "04.png, 05.png" in message


@pytest.mark.parametrize("name", ["nowhere", "📷photos"])
def test_a_folder_or_checkpoint_that_is_missing_is_named(
    train_fails: Fails, tmp_path: Path, name: str
) -> None:
    assert str(tmp_path / name) in train_fails("--data", tmp_path / name)
    assert str(tmp_path / name) in train_fails("--init", tmp_path / name)


def test_training_with_more_shots_than_any_class_has_images_is_refused(train_fails: Fails) -> None:
    message = train_fails("train.stages=[{iterations: 2, shots: [1, 8]}]")
    assert "no class of data all classes train has the 9 images that 8 shots need" in message


def test_evaluation_with_more_shots_than_a_class_has_images_is_refused(
    fails: Fails, rewritten: Callable[..., Path], checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    with safe_open(checkpoint, framework="pt") as file:
        header = json.loads(file.metadata()["header"])
    header["config"]["data"] |= {"kind": "folder", "fold": None}
    path = rewritten(header=json.dumps(header))
    arguments = ["eval", "--checkpoint", path, "--data", data, "--json", tmp_path / "result.json"]
    message = fails(*arguments, "--shots", 2)
    assert "2 shots need 3 images of each class" in message
    assert "1 disc 2, 2 ring 2" in message
    assert not (tmp_path / "result.json").exists()
    assert "has no class cow" in fails(*arguments, "--classes", "cow")
