"""Bad input: exit code 2, what is wrong and how to mend it, and nothing half done."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Fails = Callable[..., str]


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


@pytest.mark.parametrize("folder", ["a file", "/proc"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    folder: str, fails: Fails, tmp_path: Path
) -> None:
    if not Path(folder).is_absolute():
        (tmp_path / folder).write_text("no folder")
    elif not Path(folder).is_dir():
        pytest.skip("there is no folder here that root cannot write to, either")
    path = tmp_path / folder / "new" / "report.json"
    given = ("--checkpoint", tmp_path / "none", "--data", tmp_path / "none")
    message = fails("eval", *given, "--json", path)
    assert f"{path} cannot be written: " in message and "name a file in a folder" in message


def test_what_can_be_written_is_not_written_yet(tmp_path: Path) -> None:
    from arnet.cli import console

    (tmp_path / "old.json").write_text("old")
    console.check_files(None, tmp_path / "old.json", tmp_path / "new" / "report.json")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["paint"], "paint"),
        (["infer", "--support", "s", "--query", "q", "--annotation", "circle"], "box"),
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


def test_a_command_that_lacks_something_gives_an_example(fails: Fails) -> None:
    message = fails("infer")
    assert "--support or --state is needed" in message
    assert "arnet infer --support examples/horse" in message
    empty = fails("infer", "--support", "examples/horse", "--query", "")  # such as "$unset"
    assert "--query or --video is needed" in empty


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    infer_fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install '.[train]'" in infer_fails()


def test_a_device_that_is_not_there_is_refused(infer_fails: Fails) -> None:
    assert "there is no device 'abacus'" in infer_fails("--device", "abacus")


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
    assert "No space left on device" in train_fails(begun=True)
    left = [p.name for p in files(tmp_path / "run") if p.parent.name != "tensorboard"]
    assert left == ["config.yaml", "log.jsonl"]


def test_a_full_disk_while_logging_is_an_error_too(
    train_fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arnet.training.log import TrainingLog

    def write(*arguments: object, **values: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TrainingLog, "write", write)
    assert "the disk is full" in train_fails(begun=True)


def test_a_file_in_place_of_the_results_folder_is_an_error(
    fails: Fails, checkpoint: Path, support: Path, query: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    arguments = ["--checkpoint", checkpoint, "--support", support, "--query", query]
    message = fails("infer", *arguments, "--out", tmp_path / "taken")
    assert "is a file, not a folder for results" in message
    assert (tmp_path / "taken").read_text() == "a file"
