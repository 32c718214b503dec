"""Photographs, supports and checkpoints that ``arnet infer`` refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from arnet.checkpoint import save_checkpoint
from arnet.config import Config
from arnet.config_file import with_model
from arnet.modeling import ARNet

Fails = Callable[..., str]

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


def test_photographs_that_are_all_bad_leave_nothing_behind(
    infer_fails: Fails, query: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(query.read_bytes()[:-30])
    message = infer_fails(query=folder)
    assert f"error: none of 2 photographs could be read: {folder / 'a.png'} is damaged" in message


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
    message = infer_fails(query=folder)
    assert "would both write a_mask.png" in message
    assert f"--query '{folder}/*.jpg'" in message  # beside masks, that is what is meant
    for name in ("b", "c[1]"):
        (folder / name).mkdir()
        shutil.copy(folder / "a.jpg", folder / name / "a.jpg")
    (folder / "a.png").unlink()
    message = infer_fails("--query", folder / "b", query=folder)
    assert "segment them in two runs" in message and "pattern" not in message
    message = infer_fails("--query", folder / "b", query=folder / "c[1]")
    assert f"or both by one pattern, which keeps their folders: --query '{folder}/*/*.jpg'" in (
        message
    )


def test_a_pattern_that_the_shell_expanded_is_to_be_quoted(
    fails: Fails, support: Path, examples: Path
) -> None:
    first, *rest = sorted((examples / "queries").glob("*.jpg"))
    message = fails("infer", "--support", support, "--query", first, *rest)
    assert f"no option takes {rest[0]} and {len(rest) - 1} more words" in message
    assert "quote a pattern" in message and f"--query '{examples}/queries/*.jpg'" in message
    message = fails("infer", "--support", support, "--query", first, "horse")
    assert "no option takes horse\n" in message and "quote" not in message


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


def test_a_checkpoint_of_a_newer_version_asks_for_an_upgrade(
    infer_fails: Fails, rewritten: Callable[..., Path]
) -> None:
    message = infer_fails(checkpoint=rewritten(version="2", producer="arnet 9.0"))
    assert "has version 2" in message
    assert "arnet 9.0" in message
    assert "git pull and pip install ." in message


def test_a_checkpoint_with_an_unknown_setting_is_refused(
    infer_fails: Fails, rewritten: Callable[..., Path]
) -> None:
    header = json.dumps({"config": {"model": {"telepathy": True}}, "info": {}})
    assert "unknown key 'model.telepathy'" in infer_fails(checkpoint=rewritten(header=header))
