"""``arnet train``, from a folder of photographs to a checkpoint, stopped and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

Train = Callable[..., Any]


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Path:
    """A training of six iterations, saved every second, in two stages."""
    path = tmp_path / "config.yaml"
    tree = {
        "model": {"backbone": {"name": "resnet18"}, "channels": 16},
        "data": {"kind": "folder", "fold": None, "root": str(data), "image_size": 65},
        "train": {
            "backbone_weights": "random",
            "batch_size": 2,
            "save_every": 2,
            "validate_every": 0,
            "stages": [
                {"iterations": 4},
                {"iterations": 2, "shots": [1, 3], "trainable": "fusion"},
            ],
        },
    }
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def train(run, config: Path) -> Train:
    """Runs ``arnet train`` and returns how it ended."""

    def train(out: Path, *options: object):
        finished = run("train", "--config", config, "--out", out, *options)
        assert finished.code == 0, finished.err
        return finished

    return train


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def stop_at(iteration: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at an iteration."""
    from arnet.cli.train import _Reporter

    def step(self: object, number: int, *rest: object) -> None:
        if number == iteration:
            raise KeyboardInterrupt

    monkeypatch.setattr(_Reporter, "step", step)


def test_a_training_leaves_a_checkpoint_a_log_and_the_next_command(
    train: Train, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my run"
    finished = train(out)
    names = {path.name for path in out.iterdir()}
    expected = {"config.yaml", "checkpoint.safetensors", "state.safetensors", "log.jsonl"}
    assert names == expected | {"tensorboard"}
    assert [line["iteration"] for line in log(out)] == [1, 2, 3, 4, 5, 6]
    assert {"q1", "s", "q2", "total", "rate", "shots"} <= log(out)[0].keys()
    assert "trained 6 iterations" in finished.out
    last = f"Next: arnet eval --checkpoint '{out}/checkpoint.safetensors' --data {data} --shots 1"
    assert finished.out.splitlines()[-1] == last
    # No progress bar where there is no terminal, but lines.
    first, second, *steps = finished.err.splitlines()
    assert first == "training on 16 photographs (disc 8, ring 8)"
    assert second == "kept for validation: 4 photographs (disc 2, ring 2)"
    assert [line.split(":")[0] for line in steps] == [f"iteration {n} of 6" for n in range(1, 7)]
    assert all(" q2 0." in line or " q2 1." in line for line in steps)
    assert steps[2].endswith(" minutes left") and not steps[-1].endswith(" left")


def test_overrides_and_options_change_the_configuration(
    train: Train, data: Path, tmp_path: Path
) -> None:
    moved = data.rename(tmp_path / "moved")
    one_stage = "train.stages=[{iterations: 2}]"
    train(tmp_path / "run", "--data", moved, one_stage, "train.beta=0.5", "model.channels=24")
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["data"]["root"] == str(moved)
    assert kept["train"]["beta"] == 0.5
    weights = load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert any(24 in value.shape for value in weights.values())


def test_fold_holds_classes_out(run, config: Path, tmp_path: Path) -> None:
    finished = run("train", "--config", config, "--out", tmp_path / "run", "--fold", 1)
    assert finished.code == 0, finished.err
    from safetensors import safe_open

    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["header"])
    assert header["info"]["trained_classes"] == ["disc"]


def test_a_fold_beside_classes_held_out_by_name_is_refused(
    fails: Callable[..., str], config: Path, tmp_path: Path
) -> None:
    arguments = ["train", "--config", config, "--out", tmp_path / "run", "--fold", 1]
    assert "no fold 1" in fails(*arguments, "data.held_out=[ring]")
    assert not (tmp_path / "run").exists()


def test_validation_is_reported_and_keeps_the_best_checkpoint(train: Train, tmp_path: Path) -> None:
    options = ["train.validate_every=3", "train.validate_episodes=2"]
    finished = train(tmp_path / "run", *options, "train.stages=[{iterations: 3}]")
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "iteration 3: mIoU of 2 episodes on training classes, 1-shot" in finished.err
    assert [line["kind"] for line in log(tmp_path / "run")][-1] == "validation"


def test_a_stopped_training_resumes_to_the_same_weights_as_an_unstopped_one(
    train: Train, run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(4, patch)  # in the middle of a stage, two iterations after it was saved
        stopped = run("train", "--config", config, "--out", tmp_path / "parts")
    assert stopped.code == 130
    last = stopped.out.splitlines()[-1]
    assert last == f"Next: arnet train --out {tmp_path / 'parts'} --resume"
    assert [line["iteration"] for line in log(tmp_path / "parts")] == [1, 2, 3, 4]
    resumed = run(*last.removeprefix("Next: arnet ").split())
    assert resumed.code == 0, resumed.err
    assert [line["iteration"] for line in log(tmp_path / "parts")] == [1, 2, 3, 4, 5, 6]
    one, other = (
        load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts")
    )
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def test_a_training_stopped_before_its_first_checkpoint_says_so(
    run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(1, monkeypatch)
    stopped = run("train", "--config", config, "--out", tmp_path / "run")
    assert stopped.code == 130
    assert "stopped before the first checkpoint" in stopped.out


def test_resuming_where_there_is_nothing_says_that_it_starts_anew(
    train: Train, tmp_path: Path
) -> None:
    finished = train(tmp_path / "run", "--resume", "train.stages=[{iterations: 1}]")
    assert f"nothing to resume in {tmp_path / 'run'}" in finished.err


def test_a_folder_that_holds_a_training_is_not_written_over(
    train: Train, fails: Callable[..., str], config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train(out, "train.stages=[{iterations: 1}]")
    before = (out / "checkpoint.safetensors").read_bytes()
    assert "add --resume" in fails("train", "--config", config, "--out", out)
    assert "train.stages" in fails("train", "--config", config, "--out", out, "--resume")
    assert (out / "checkpoint.safetensors").read_bytes() == before


def test_a_finished_training_is_told_to_be_so_and_not_trained_again(
    train: Train, run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train(out, "train.stages=[{iterations: 1}]")
    resumed = run("train", "--out", out, "--resume")
    assert resumed.code == 0, resumed.err
    assert f"nothing left to do: {out} is trained to its end, 1 iterations in" in resumed.out
    assert "\ntrained" not in "\n" + resumed.out and "iteration 1" not in resumed.err


def test_the_help_says_when_a_best_checkpoint_is_written(run) -> None:
    told = " ".join(run("train", "--help").out.replace("│", " ").split())
    assert "best.safetensors" in told and "only where train.validate_every is not 0" in told


def test_init_starts_from_the_weights_of_a_checkpoint(
    train: Train, checkpoint: Path, tmp_path: Path
) -> None:
    slow = "train.stages=[{iterations: 1, learning_rate: 1.0e-12}]"
    train(tmp_path / "run", "--init", checkpoint, slow, "train.seed=1")
    start = load_file(checkpoint)
    for name, value in load_file(tmp_path / "run" / "checkpoint.safetensors").items():
        assert value.sub(start[name]).abs().max() < 1e-6, name


def test_init_may_have_another_fusion(train: Train, checkpoint: Path, tmp_path: Path) -> None:
    slow = "train.stages=[{iterations: 1, learning_rate: 1.0e-12, shots: [2, 2]}]"
    train(tmp_path / "run", "--init", checkpoint, slow, "model.fusion=attention")
    start, end = load_file(checkpoint), load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert any(name.startswith("cmm.") for name in start)
    assert any(name.startswith("shot_attention.") for name in end)
    for name in start.keys() & end.keys():
        assert end[name].sub(start[name]).abs().max() < 1e-6, name
    assert not any(name.startswith("cmm.") for name in end)


def test_init_alone_fine_tunes_on_a_folder(
    run, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    arguments = ["--init", checkpoint, "--data", data, "--out", out]
    short = "train.stages=[{iterations: 2, learning_rate: 1.0e-4}]"
    finished = run("train", *arguments, short, "data.cache_views=1")
    assert finished.code == 0, finished.err
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written["data"]["kind"] == "folder" and list((out / "cache").rglob("*.safetensors"))
    start, end = load_file(checkpoint), load_file(out / "checkpoint.safetensors")
    assert start.keys() == end.keys()
    changed = {name for name, value in end.items() if not torch.equal(value, start[name])}
    assert changed and not any(name.startswith("backbone") for name in changed)


def test_fine_tuning_takes_no_more_shots_than_the_smallest_class_allows(
    run, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    """Six photographs, of which two of each class are to be trained on."""
    for path in [*(data / "images").iterdir(), *(data / "masks").iterdir()]:
        if int(path.stem) > 5:
            path.unlink()
    short = ["train.stages.0.iterations=1", "data.cache_views=1"]
    out = tmp_path / "mine"
    finished = run("train", "--init", checkpoint, "--data", data, "--out", out, *short)
    assert finished.code == 0, finished.err
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["stages"][0]["shots"] == [
        1,
        1,
    ]
    assert "too few" not in finished.err


@pytest.mark.parametrize("named", [True, False])
def test_a_fine_tuning_killed_before_its_first_checkpoint_starts_from_the_same_weights(
    run, checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """With the very same command and --resume, or with --resume alone."""
    command = ["train", "--init", checkpoint, "--data", data, "--out", tmp_path / "mine"]
    command += ["train.stages=[{iterations: 2, learning_rate: 1.0e-12}]", "data.cache_views=1"]
    command += ["train.seed=1"]  # not that of the checkpoint's own random weights
    with monkeypatch.context() as patch:
        stop_at(1, patch)
        assert run(*command).code == 130
    again = command if named else ["train", "--out", tmp_path / "mine"]
    finished = run(*again, "--resume")
    assert finished.code == 0, finished.err
    start = load_file(checkpoint)
    for name, value in load_file(tmp_path / "mine" / "checkpoint.safetensors").items():
        assert value.sub(start[name]).abs().max() < 1e-6, name


def test_a_cache_of_features_is_filled_once(train: Train, tmp_path: Path) -> None:
    options = [f"data.cache={tmp_path / 'cache'}", "data.cache_views=1"]
    told = train(tmp_path / "one", *options, "train.stages=[{iterations: 1}]").err
    assert f"features of 16 photographs are kept in {tmp_path / 'cache'}: 1.1 MB" in told
    assert "cached 8 of 16 photographs" in told
    cached = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.safetensors")}
    assert len(cached) == 16
    assert sum(p.stat().st_size for p in cached) == pytest.approx(1.1e6, rel=0.05)
    train(tmp_path / "two", *options, "train.stages=[{iterations: 1}]")
    assert cached == {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.safetensors")}
