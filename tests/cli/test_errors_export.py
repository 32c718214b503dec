"""Whatever is wrong with ``arnet export`` is told in words, and nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arnet.export.tensorrt.library import find
from arnet.runtime.errors import MissingDependencyError

Refused = Callable[..., str]


@pytest.fixture
def trained(examples: Path) -> Path:
    """The checkpoint of the repository."""
    return examples.parent / "weights" / "arnet-r18.safetensors"


@pytest.fixture
def refused(fails, trained: Path, examples: Path, tmp_path: Path) -> Refused:
    """Runs ``arnet export`` with one thing wrong."""

    def refused(*options: object, **wrong: object) -> str:
        given = {"checkpoint": trained, "support": examples / "horse"} | wrong
        words = [word for name, value in given.items() if value for word in (f"--{name}", value)]
        message = fails("export", *words, "--out", tmp_path / "new" / "bundle", *options)
        assert not (tmp_path / "new").exists()
        return message

    return refused


@pytest.mark.parametrize("missing", ["torch", "onnx"])
@pytest.mark.parametrize("command", ["export", "parity"])
def test_one_command_installs_all_that_is_missing(
    missing: str, command: str, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``.[export]`` brings torch, too: not one command for torch and a second one for onnx."""
    monkeypatch.setitem(sys.modules, missing, None)
    bundle = ["bundle"] if command == "parity" else []
    message = fails(command, *bundle, "--checkpoint", "c")
    assert f"needs {missing}" in message and "pip install '.[export]'" in message


def test_no_photographs(refused: Refused) -> None:
    message = refused(support=None)
    assert "none were given" in message and "--support" in message


def test_one_photograph(refused: Refused, support: Path) -> None:
    assert "2 annotated photographs" in refused(support=support)


def test_a_folder_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    assert "none" in refused(support=tmp_path / "none")
    assert "none" in refused(support=None, data=tmp_path / "none")


def test_a_checkpoint_that_is_none(refused: Refused, support: Path, tmp_path: Path) -> None:
    assert "there is no checkpoint" in refused(checkpoint=tmp_path / "none.safetensors")
    assert "a.png" in refused(checkpoint=support / "a.png")


def test_a_precision_that_stores_by_itself(refused: Refused) -> None:
    assert "--store fp16 is for --precision fp32" in refused(
        "--precision", "fp16", "--store", "fp16"
    )


def test_other_words(run, trained: Path, examples: Path, tmp_path: Path) -> None:
    common = ("export", "--checkpoint", trained, "--support", examples / "horse")
    for options in (
        ("--precision", "fp64"),
        ("--size", 32),
        ("--plugins", "on"),
        ("--engine", "fp12"),
        ("--hardware", "turing"),
        ("--max-shots", 0),
    ):
        finished = run(*common, "--out", tmp_path / "bundle", *options)
        assert finished.code == 2 and options[0] in finished.err
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written(refused: Refused, fails, tmp_path: Path) -> None:
    """It is told before the work, which is minutes."""
    assert f"{tmp_path} is a folder" in refused("--json", tmp_path)
    given = ("parity", tmp_path / "none", "--checkpoint", tmp_path / "none")
    assert f"{tmp_path} is a folder" in fails(*given, "--json", tmp_path)


def test_photographs_and_a_data_set_at_once(refused: Refused, data: Path) -> None:
    assert "--data and --support were both given" in refused("--data", data)


@pytest.mark.parametrize("engine", ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"])
def test_plans_where_there_is_no_tensorrt(refused: Refused, engine: str) -> None:
    """All that is missing, and the command that was typed, for where it is not missing."""
    if has_tensorrt_and_gpu():
        pytest.skip("there is TensorRT and a GPU here")
    message = refused("--engine", engine, "--max-shots", 7)
    assert "TensorRT is not installed" in message or "no NVIDIA GPU" in message
    hint = message.split("hint: ")[1]
    assert "pip install" in hint and "tensorrt>=10.13,!=10.14.*,<12" in hint
    assert f"--engine {engine} --max-shots 7" in hint


def has_tensorrt_and_gpu() -> bool:
    try:
        return bool(find(""))
    except MissingDependencyError:
        return False


@pytest.mark.parametrize("option", [("--precision", "fp32"), ("--store", "fp16")])
def test_an_engine_of_tensorrt_has_its_precision_in_its_name(refused: Refused, option) -> None:
    message = refused("--engine", "fp16", *option)
    assert "--engine fp16 says what is computed in" in message and "leave them out" in message
