"""Bad input: exit code 2, what is wrong and how to mend it, and nothing half done."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from arnet.checkpoint import save_checkpoint
from arnet.config import Config
from arnet.config_file import with_model
from arnet.modeling import ARNet

Fails = Callable[..., str]


@pytest.fixture
def infer_fails(fails: Fails, checkpoint: Path, support: Path, query: Path, tmp_path: Path):
    """Runs ``arnet infer`` with one thing wrong; nothing may have been written."""

    def infer_fails(*options: object, **wrong: object) -> str:
        given = {"checkpoint": checkpoint, "support": support, "query": query} | wrong
        arguments = [word for name, value in given.items() for word in (f"--{name}", value)]
        message = fails("infer", *arguments, "--out", tmp_path / "out", *options)
        assert not (tmp_path / "out").exists()
        return message

    return infer_fails


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# The program itself.


def test_an_error_is_a_message_a_hint_and_code_2_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "arnet", "infer", "--checkpoint", "none.safetensors"]
    command += ["--support", ".", "--query", "none.jpg"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[0] == "error: none.jpg matches no images."
    assert finished.stderr.splitlines()[1].startswith("hint: Give a file, a folder or")
    assert "Traceback" not in finished.stderr


def test_debug_shows_the_traceback(run, tmp_path: Path) -> None:
    from arnet.runtime.errors import ConfigError

    with pytest.raises(ConfigError, match="no configuration file"):
        run("--debug", "train", "--config", tmp_path / "none.yaml")


def test_debug_of_one_run_is_not_that_of_the_next(run, fails: Fails, tmp_path: Path) -> None:
    run("--debug", "--version")
    fails("train", "--config", tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["paint"], "paint"),
        (["infer"], "--support"),
        (["infer", "--support", "s", "--query", "q", "--checkpoint", "c", "--size", "7"], "--size"),
        (["eval", "--checkpoint", "c", "--data", "d", "--annotation", "circle"], "box"),
        (["eval", "--checkpoint", "c", "--data", "d", "--shots", "0"], "--shots"),
    ],
)
def test_a_wrong_command_line_exits_with_code_2_and_names_what_is_wrong(
    arguments: list[str], named: str, run
) -> None:
    finished = run(*arguments)
    assert finished.code == 2
    assert "Usage:" in finished.err
    assert named in finished.err


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    infer_fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install 'arnet[train]'" in infer_fails()


def test_a_device_that_is_not_there_is_refused(infer_fails: Fails) -> None:
    assert "there is no device 'abacus'" in infer_fails("--device", "abacus")


# Photographs.


def test_a_text_file_is_no_photograph(infer_fails: Fails, tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("no picture")
    assert f"{path} is not an image" in infer_fails(query=path)


def test_a_truncated_photograph_is_refused(infer_fails: Fails, examples: Path, tmp_path) -> None:
    path = tmp_path / "half.jpg"
    whole = (examples / "queries" / "horse.jpg").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path} is damaged or incomplete" in infer_fails(query=path)


def test_an_empty_file_is_no_photograph(infer_fails: Fails, tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert f"{path} is empty" in infer_fails(query=path)


def test_one_bad_photograph_among_good_ones_stops_the_run_before_it_writes(
    infer_fails: Fails, query: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    shutil.copy(query, folder / "a.png")
    (folder / "b.png").write_bytes(query.read_bytes()[:-30])
    assert "b.png is damaged" in infer_fails(query=folder)


def test_a_folder_without_photographs_is_no_query(infer_fails: Fails, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    assert f"{folder} holds no images" in infer_fails(query=folder)


def test_two_photographs_that_would_share_a_mask_are_refused(
    infer_fails: Fails, query: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    shutil.copy(query, folder / "a.png")
    Image.open(query).convert("RGB").save(folder / "a.jpg")
    assert "would both write a_mask.png" in infer_fails(query=folder)


# Supports.


def test_a_support_folder_that_is_missing_is_named(infer_fails: Fails, tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'} does not exist" in infer_fails(support=tmp_path / "nowhere")


def test_an_empty_support_folder_is_refused(infer_fails: Fails, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    message = infer_fails(support=folder)
    assert f"{folder} holds no photographs" in message
    assert "a.xml (Pascal VOC)" in message


def test_a_support_without_annotation_is_named(infer_fails: Fails, support: Path, query) -> None:
    shutil.copy(query, support / "b.png")
    assert f"{support / 'b.png'} has no annotation" in infer_fails()


def test_a_mask_of_another_size_is_refused_with_both_sizes(
    infer_fails: Fails, support: Path
) -> None:
    Image.new("L", (50, 40), 255).save(support / "a_mask.png")
    message = infer_fails()
    assert "50x40" in message
    assert "60x40" in message


def test_a_mask_without_an_object_is_refused(infer_fails: Fails, support: Path) -> None:
    Image.new("L", (60, 40), 0).save(support / "a_mask.png")
    assert "a_mask.png is empty: no pixel is marked as object" in infer_fails()


def test_several_classes_need_a_label(infer_fails: Fails, examples: Path, tmp_path: Path) -> None:
    for name in ("horse", "dog"):
        shutil.copytree(examples / name, tmp_path / "animals" / name)
    message = infer_fails(support=tmp_path / "animals")
    assert "has several labels: dog, horse" in message
    assert "--label dog" in message
    message = infer_fails("--label", "cow", support=tmp_path / "animals")
    assert "has no label 'cow'; it has: dog, horse" in message


# Checkpoints.


def test_a_checkpoint_that_is_missing_is_named(infer_fails: Fails, tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    assert f"there is no checkpoint {path}" in infer_fails(checkpoint=path)


@pytest.mark.parametrize("keep", [0, 5, 2_000, -100], ids=["none", "5", "header", "most"])
def test_a_damaged_checkpoint_is_refused(
    keep: int, infer_fails: Fails, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:keep])
    assert f"{path} is damaged" in infer_fails(checkpoint=path)


def test_a_file_of_another_kind_is_no_checkpoint(infer_fails: Fails, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": torch.zeros(3)}, path)
    assert f"{path} is not an ARNet checkpoint" in infer_fails(checkpoint=path)


def test_weights_of_another_architecture_than_the_configuration_says_are_refused(
    infer_fails: Fails, tiny_config: Config, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, ARNet(tiny_config.model), with_model(tiny_config, channels=32), {})
    message = infer_fails(checkpoint=path)
    assert f"{path} is of another architecture" in message
    assert "found 16" in message
    assert "needed 32" in message


@pytest.fixture
def rewritten(checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    """The checkpoint with other metadata."""

    def rewritten(**metadata: str) -> Path:
        path = tmp_path / "rewritten.safetensors"
        with safe_open(checkpoint, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            save_file(tensors, path, file.metadata() | metadata)
        return path

    return rewritten


def test_a_checkpoint_of_a_newer_version_asks_for_an_upgrade(
    infer_fails: Fails, rewritten: Callable[..., Path]
) -> None:
    message = infer_fails(checkpoint=rewritten(version="2", producer="arnet 9.0"))
    assert "has version 2" in message
    assert "arnet 9.0" in message
    assert "pip install --upgrade arnet" in message


def test_a_checkpoint_with_an_unknown_setting_is_refused(
    infer_fails: Fails, rewritten: Callable[..., Path]
) -> None:
    header = json.dumps({"config": {"model": {"telepathy": True}}, "info": {}})
    assert "unknown key 'model.telepathy'" in infer_fails(checkpoint=rewritten(header=header))


# Configurations.


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.batchsize=8", "batch_size"),
        ("model.backbone.stride=8", "output_stride"),
        ("train.stages=[{iterations: 5, shot: 1}]", "shots"),
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
    ["train.batch_size=many", "model.channels=-1", "data.kind=film", "train=fast", "lonely"],
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


@pytest.fixture
def train_fails(fails: Fails, tiny_config: Config, data: Path, tmp_path: Path) -> Fails:
    """Runs ``arnet train`` on the tiny data; nothing may have been written."""
    path = tmp_path / "config.yaml"
    tree = {
        "model": {"backbone": {"name": "resnet18"}, "channels": 16},
        "data": {"kind": "folder", "fold": None, "root": str(data), "image_size": 65},
        "train": {
            "backbone_weights": "random",
            "validate_every": 0,
            "stages": [{"iterations": 2}],
        },
    }
    path.write_text(yaml.safe_dump(tree))

    def train_fails(*options: object) -> str:
        message = fails("train", "--config", path, "--out", tmp_path / "run", *options)
        assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
        return message

    return train_fails


def test_data_with_missing_masks_name_them(train_fails: Fails, data: Path) -> None:
    (data / "masks" / "03.png").unlink()
    (data / "masks" / "04.png").unlink()
    message = train_fails()
    assert "2 masks in" in message
    assert "03.png, 04.png" in message


def test_a_data_folder_that_is_missing_is_named(train_fails: Fails, tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in train_fails("--data", tmp_path / "nowhere")


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


# The disk.


class FullDisk:
    """Every write of a file from the given number on stops in the middle: no space is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, works: int = 0) -> None:
        self.left = works
        for owner, name in (
            (Path, "write_bytes"),
            (Path, "write_text"),
            (Image.Image, "save"),
            (np, "save"),
        ):
            monkeypatch.setattr(owner, name, self.filling(getattr(owner, name)))

    def filling(self, write: Callable[..., object]) -> Callable[..., object]:
        def fill(target: object, *arguments: object, **options: object) -> object:
            self.left -= 1
            if self.left >= 0:
                return write(target, *arguments, **options)
            path = target if isinstance(target, Path) else arguments[0]
            if isinstance(path, Path):
                with path.open("wb") as file:
                    file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        return fill


@pytest.mark.parametrize("works", range(5), ids=["mask", "overlay", "prob", "figure", "results"])
def test_a_full_disk_leaves_whole_files_only_when_inferring(
    works: int,
    fails: Fails,
    checkpoint: Path,
    support: Path,
    query: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FullDisk(monkeypatch, works)
    arguments = ["--checkpoint", checkpoint, "--support", support, "--query", query]
    message = fails("infer", *arguments, "--out", tmp_path / "out", "--prob", "--figure")
    assert "No space left on device" in message
    written = ["query_mask.png", "query_overlay.png", "query_prob.npy", "query_figure.png"]
    assert {path.name for path in files(tmp_path / "out")} == set(written[:works])


def test_a_full_disk_leaves_no_half_checkpoint_when_training(
    train_fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, works=2)  # config.yaml and the empty log
    assert "No space left on device" in train_fails()
    left = [p.name for p in files(tmp_path / "run") if p.parent.name != "tensorboard"]
    assert left == ["config.yaml", "log.jsonl"]


def test_a_full_disk_while_logging_is_an_error_too(
    train_fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arnet.training.log import TrainingLog

    def write(*arguments: object, **values: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TrainingLog, "write", write)
    assert "the disk is full" in train_fails()


def test_a_file_in_place_of_the_results_folder_is_an_error(
    fails: Fails, checkpoint: Path, support: Path, query: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    arguments = ["--checkpoint", checkpoint, "--support", support, "--query", query]
    message = fails("infer", *arguments, "--out", tmp_path / "taken")
    assert "could not be written" in message
    assert (tmp_path / "taken").read_text() == "a file"
