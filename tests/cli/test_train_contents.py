"""What ``arnet train`` and ``arnet eval`` say of folders that hold little."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.export.episodes import from_folders

Fails = Callable[..., str]


@pytest.fixture
def few(data: Path) -> Path:
    """Five photographs of one class, disc; of these 08 is kept for validation."""
    for path in [*(data / "images").iterdir(), *(data / "masks").iterdir()]:
        if int(path.stem) not in (0, 1, 4, 5, 8):
            path.unlink()
    (data / "classes.txt").write_text("disc\n")
    return data


@pytest.fixture
def fine_tune(run, checkpoint: Path, tmp_path: Path):
    """Runs a fine-tuning of one iteration; returns how it ended and its last line's words."""

    def fine_tune(folder: Path):
        short = ["train.stages.0.iterations=1", "data.cache_views=1"]
        arguments = ["--init", checkpoint, "--data", folder, "--out", tmp_path / "mine", *short]
        finished = run("train", *arguments)
        assert finished.code == 0, finished.err
        return finished, shlex.split(finished.out.splitlines()[-1].removeprefix("Next: "))

    return fine_tune


def blank(data: Path, name: str) -> None:
    """Leave nothing marked in a mask."""
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(data / "masks" / f"{name}.png")


def test_what_cannot_be_measured_is_told_at_the_start_and_the_next_command_works(
    fine_tune, few: Path
) -> None:
    finished, next_words = fine_tune(few)
    first, second, third, *_ = finished.err.splitlines()
    assert first == "training on 4 photographs (disc 4)"
    assert second == "kept for validation: 1 photograph (disc 1)"
    assert third.startswith("warning: arnet eval cannot measure") and "val.txt" in third
    assert next_words[:2] == ["arnet", "export"] and str(few) in next_words
    # What it would compare the bundle on; the export itself is a matter of its own tests.
    assert {episode.label for episode in from_folders([few])} == {"disc"}


def test_photographs_that_are_left_out_are_named(fine_tune, data: Path) -> None:
    blank(data, "01")
    blank(data, "07")
    small = np.zeros((40, 60), np.uint8)
    small[0, :5] = 1
    Image.fromarray(small).save(data / "masks" / "02.png")
    finished, next_words = fine_tune(data)
    assert finished.err.splitlines()[:5] == [
        "training on 13 photographs (disc 7, ring 6)",
        "left out 1 photograph, their masks mark nothing: 01",
        "left out 1 photograph, too little is marked (under 1 %): 02",
        "kept for validation: 4 photographs (disc 2, ring 2)",
        "left out 1 photograph, their masks mark nothing: 07",
    ]
    assert "warning" not in finished.err and next_words[:2] == ["arnet", "eval"]


def test_small_objects_are_told_and_can_be_used(
    fails: Fails, fine_tune, run, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    """Twelve pixels of 2,400 are half a hundredth."""
    (data / "classes.txt").write_text("dot\n")
    small = np.zeros((40, 60), np.uint8)
    small[:3, :4] = 1
    for path in (data / "masks").iterdir():
        Image.fromarray(small).save(path)
    short = ["train.stages.0.iterations=1", "data.cache_views=1"]
    command = ["train", "--init", checkpoint, "--data", data, "--out", tmp_path / "mine", *short]
    message = fails(*command)
    assert "no class of data all classes train has the 2 images that 1 shot needs" in message
    assert "left out 17 photographs, too little is marked (under 1 %): 00, 01" in message
    assert "data.min_share" in message
    message = fails(*command, "data.min_share=0.0051")
    assert "(under 0.51 %)" in message
    finished = run(*command, "data.min_share=0.005")
    assert "training on 17 photographs (dot 17)" in finished.err and finished.code == 0


def test_photographs_of_what_is_held_out_are_not_called_left_out(
    run, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    short = ["train.stages.0.iterations=1", "data.cache_views=1", "data.held_out=[ring]"]
    arguments = ["--init", checkpoint, "--data", data, "--out", tmp_path / "mine", *short]
    told = run("train", *arguments).err
    assert "training on 8 photographs (disc 8)" in told
    assert "kept for validation: 2 photographs (ring 2)" in told
    assert "left out" not in told


def test_where_a_photograph_has_no_object_the_next_command_takes_the_examples(
    fine_tune, few: Path
) -> None:
    """A support folder with an empty mask is refused."""
    blank(few, "01")
    _, next_words = fine_tune(few)
    assert next_words[:2] == ["arnet", "export"] and "examples/horse" in next_words


def test_a_validation_that_cannot_be_opened_does_not_stop_the_training(
    fine_tune, few: Path
) -> None:
    (few / "masks" / "08.png").unlink()
    finished, next_words = fine_tune(few)
    assert "warning: what is kept for validation cannot be used: 1 masks in" in finished.err
    assert next_words[:2] == ["arnet", "export"]


def test_one_shot_is_not_asked_to_take_fewer(fails: Fails, fine_tune, few: Path) -> None:
    fine_tune(few)
    mine = few.parent / "mine" / "checkpoint.safetensors"
    message = fails("eval", "--checkpoint", mine, "--data", few, "--shots", 1)
    assert "1 shot needs 2 images of each class" in message and "1 disc 1" in message
    assert "fewer shots" not in message and "val.txt" in message


def test_too_many_shots_are_told_how_many_there_can_be(fails: Fails, fine_tune, data: Path) -> None:
    fine_tune(data)
    mine = data.parent / "mine" / "checkpoint.safetensors"
    message = fails("eval", "--checkpoint", mine, "--data", data, "--shots", 5)
    assert "5 shots need 6 images" in message and "take fewer shots, at most 1" in message
