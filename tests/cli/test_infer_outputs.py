"""What ``arnet infer`` could not write is refused before a model is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from arnet.cli import inference

Fails = Callable[..., str]


@pytest.fixture
def infer_fails(fails: Fails, support: Path, query: Path, monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Runs ``arnet infer`` with a bundle that must not be opened."""

    def opened(*arguments: object) -> None:
        raise AssertionError("the bundle was opened first")

    monkeypatch.setattr(inference, "open_segmenter", opened)
    return lambda *options: fails("infer", "--support", support, "--query", query, *options)


@pytest.mark.parametrize("out", ["taken", "taken/results/today"])
def test_results_that_would_replace_a_file(infer_fails: Fails, tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("mine")
    said = infer_fails("--out", tmp_path / out)
    assert f"{tmp_path / 'taken'} is a file, not a folder for results" in said
    assert "choose another --out" in said
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or not os.geteuid(), reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(infer_fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be written to" in infer_fails("--out", tmp_path / "locked" / "out")


def test_a_state_that_would_replace_a_folder(infer_fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    said = infer_fails("--out", tmp_path / "out", "--save-state", tmp_path / "states")
    assert f"{tmp_path / 'states'} is a folder" in said and "name a file in it" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["disc", "disc/results"])
def test_a_state_of_the_name_of_the_results(infer_fails: Fails, tmp_path: Path, out: str) -> None:
    said = infer_fails("--out", tmp_path / out, "--save-state", tmp_path / "disc")
    assert "would be a file and a folder of one name" in said
    assert not (tmp_path / "disc").exists()


def test_results_among_the_photographs(infer_fails: Fails, support: Path, query: Path) -> None:
    for out in (support, support / "masks", query.parent):
        assert "among the photographs" in infer_fails("--out", out)
