"""``arnet infer --checkpoint``: what runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def printed() -> list[str]:
    """What each run printed."""
    return []


@pytest.fixture
def infer(run, examples: Path, tmp_path: Path, printed: list[str]):
    """Runs ``arnet infer`` with a checkpoint; returns what results.json says of the model and the
    probabilities."""
    query = examples / "queries" / "horse.jpg"

    def infer(*options: object, size: int = 97) -> tuple[dict[str, object], np.ndarray]:
        common = ("--checkpoint", "arnet-r18", "--support", examples / "horse", "--query", query)
        words = (*common, "--prob", "--size", size, "--out", tmp_path / "out")
        finished = run("infer", *words, *options)
        assert finished.code == 0, finished.err
        printed.append(finished.out)
        found = json.loads((tmp_path / "out" / "results.json").read_text())["model"]
        (path,) = (tmp_path / "out").glob("*_prob.npy")
        return found, np.load(path).astype(np.float32)

    return infer


def test_our_kernels_give_what_the_model_gives(infer, printed: list[str]) -> None:
    plain, expected = infer()
    same, again = infer("--engine", "torch")
    assert plain["kind"] == same["kind"] == "checkpoint"
    assert np.array_equal(expected, again)
    ours, found = infer("--engine", "torch-kernels", "--device", "cpu")
    assert (ours["kind"], ours["precision"]) == ("torch-kernels", "fp32")
    assert printed[-1].splitlines()[6] == "engine torch-kernels on cpu", printed[-1]
    assert (ours["name"], ours["sha256"]) == (plain["name"], plain["sha256"])
    assert np.abs(found - expected).max() < 2e-3  # they are written as float16
    larger, other = infer("--engine", "torch-kernels", size=129)
    assert (larger["input_size"], ours["input_size"]) == (129, plain["input_size"])
    assert np.abs(other - expected).max() > 0.1  # the negative control


def test_in_half_precision(infer) -> None:
    _, expected = infer()
    half, found = infer("--engine", "torch-kernels", "--precision", "fp16")
    assert half["precision"] == "fp16"
    assert np.abs(found - expected).max() < 2e-2


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--engine", "onnx"), "--engine onnx runs no checkpoint", "arnet export --checkpoint"),
        (("--precision", "fp16"), "--precision is for torch-kernels", "--engine torch-kernels"),
    ],
    ids=["engine", "precision"],
)
def test_what_does_not_run_a_checkpoint(
    fails: Callable[..., str], checkpoint: Path, support: Path, query: Path, options, message, hint
) -> None:
    common = ("--checkpoint", checkpoint, "--support", support, "--query", query)
    told = fails("infer", *common, *options)
    assert message in told and hint in told
