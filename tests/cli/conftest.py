"""The command line as a user runs it, and a checkpoint that costs nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from arnet.checkpoint import save_checkpoint
from arnet.cli import main
from arnet.config import Config
from arnet.config_file import config_from_dict, config_to_dict
from arnet.modeling import ARNet


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Finished]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``arnet ARGUMENTS`` in this process, with the program's own handling of errors."""
    # Tables and boxes of help are as wide as the terminal says.
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["arnet", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Finished(code, out, err)

    return run


@pytest.fixture
def fails(run: Run) -> Callable[..., str]:
    """Runs a command that must end with code 2, ``error:`` and ``hint:``; returns stderr.

    Nothing stands before them, unless the work has ``begun`` and was told of.
    """

    def fails(*arguments: object, begun: bool = False) -> str:
        finished = run(*arguments)
        assert finished.code == 2, finished
        lines = finished.err.splitlines()
        while begun and not lines[0].startswith("error: "):
            del lines[0]
        first, *rest = lines
        assert first.startswith("error: ")
        assert rest and rest[0].startswith("hint: ")
        assert "Traceback" not in finished.err + finished.out
        return finished.err

    return fails


@pytest.fixture(scope="session")
def examples() -> Path:
    """The example photographs of the repository."""
    return Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A model that answers in milliseconds: ResNet-18, 16 channels, 65 pixels."""
    return config_from_dict(
        {
            "model": {"backbone": {"name": "resnet18"}, "channels": 16},
            "data": {"image_size": 65},
            "train": {"backbone_weights": "random"},
        }
    )


@pytest.fixture(scope="session")
def checkpoint(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, which nevertheless sees something in about a third of the
    pixels."""
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_checkpoint(path, ARNet(tiny_config.model), tiny_config, {})
    return path


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that finds what has the colour of the supports' objects."""
    pytest.importorskip("onnxruntime")
    path = Path(__file__).parents[1] / "runtime" / "tiny_bundle.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def photograph() -> np.ndarray:
    """A photograph of 60 x 40 pixels: bright disc on a dark gradient."""
    rows, columns = np.mgrid[:40, :60]
    disc = (rows - 20) ** 2 + (columns - 35) ** 2 < 150
    dark = np.stack([rows * 2, columns, rows + columns], axis=2)
    return np.where(disc[:, :, None], [230, 200, 60], dark).astype(np.uint8)


@pytest.fixture
def support(tmp_path: Path, photograph: np.ndarray) -> Path:
    """A support folder: one photograph, a.png, and its mask, a_mask.png."""
    folder = tmp_path / "support"
    folder.mkdir()
    Image.fromarray(photograph).save(folder / "a.png")
    mask = np.where(photograph[:, :, 0] == 230, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(folder / "a_mask.png")
    return folder


@pytest.fixture
def query(tmp_path: Path, photograph: np.ndarray) -> Path:
    """A photograph to segment, turned by half."""
    path = tmp_path / "query.png"
    Image.fromarray(photograph[::-1, ::-1].copy()).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path, photograph: np.ndarray) -> Path:
    """A plain folder data set: 20 photographs, each with one of two things, "disc" and "ring"."""
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("disc\nring\n")
    rows, columns = np.mgrid[:40, :60]
    rng = np.random.default_rng(0)
    for number in range(20):
        y, x = rng.integers(14, 26), rng.integers(14, 46)
        distance = np.hypot(rows - y, columns - x)
        class_id = 1 + number // 2 % 2
        thing = distance < 12 if class_id == 1 else (distance < 13) & (distance > 7)
        image = rng.integers(0, 90, (40, 60, 3))
        image[thing] += np.array([150, 100, 20])
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{number:02}.png")
        labels = np.where(thing, class_id, 0).astype(np.uint8)
        Image.fromarray(labels).save(root / "masks" / f"{number:02}.png")
    return root


@pytest.fixture
def infer(run, checkpoint: Path, tmp_path: Path) -> Callable[..., Finished]:
    """Runs ``arnet infer`` into tmp_path/out and returns how it ended."""

    def infer(support: Path, query: object, *options: object) -> Finished:
        arguments = ["--checkpoint", checkpoint, "--support", support, "--query", query]
        finished = run("infer", *arguments, "--out", tmp_path / "out", *options)
        assert finished.code == 0, finished.err
        return finished

    return infer


@pytest.fixture
def infer_fails(
    fails: Callable[..., str], checkpoint: Path, support: Path, query: Path, tmp_path: Path
) -> Callable[..., str]:
    """Runs ``arnet infer`` with one thing wrong; nothing may have been written."""

    def infer_fails(*options: object, **wrong: object) -> str:
        given = {"checkpoint": checkpoint, "support": support, "query": query} | wrong
        arguments = [word for name, value in given.items() for word in (f"--{name}", value)]
        message = fails("infer", *arguments, "--out", tmp_path / "out", *options)
        assert not (tmp_path / "out").exists()
        return message

    return infer_fails


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


@pytest.fixture
def train_fails(fails: Callable[..., str], data: Path, tmp_path: Path) -> Callable[..., str]:
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

    def train_fails(*options: object, begun: bool = False) -> str:
        command = ("train", "--config", path, "--out", tmp_path / "run")
        message = fails(*command, *options, begun=begun)
        assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
        return message

    return train_fails


@pytest.fixture
def trained(tiny_config: Config, tmp_path: Path) -> Path:
    """A checkpoint of a training on a plain folder with no class held out."""
    tree = config_to_dict(tiny_config)
    tree["data"] |= {"kind": "folder", "fold": None}
    path = tmp_path / "trained.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_checkpoint(path, ARNet(tiny_config.model), config_from_dict(tree), {"iteration": 7})
    return path


@pytest.fixture
def evaluate(
    run, trained: Path, data: Path, tmp_path: Path
) -> Callable[..., tuple[str, dict[str, Any]]]:
    """Runs ``arnet eval`` on few episodes; returns what it printed and the JSON it wrote."""

    def evaluate(*options: object) -> tuple[str, dict[str, Any]]:
        arguments = ["--checkpoint", trained, "--data", data, "--episodes", 4, "--seeds", 2]
        finished = run("eval", *arguments, "--json", tmp_path / "result.json", *options)
        assert finished.code == 0, finished.err
        # No progress bar where there is no terminal, but lines.
        assert all(line.startswith(("cached ", "scored ")) for line in finished.err.splitlines())
        return finished.out, json.loads((tmp_path / "result.json").read_text())

    return evaluate
