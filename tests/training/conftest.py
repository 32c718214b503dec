"""Trainings of a few iterations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


class Recorder:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.cached: list[tuple[int, int]] = []
        self.losses: dict[int, dict[str, float]] = {}

    def message(self, text: str) -> None:
        self.messages.append(text)

    def caching(self, done: int, total: int) -> None:
        self.cached.append((done, total))

    def step(self, iteration: int, total: int, losses: dict[str, float]) -> None:
        self.losses[iteration] = losses


@pytest.fixture
def make_trainer(shapes, make_config):
    """A trainer on the folder of shapes, on images of 33 pixels; its ``reporter`` records."""
    import torch

    from arnet.training.distributed import Process
    from arnet.training.trainer import Trainer

    def make(out: Path, *overrides: str, resume: bool = False) -> Trainer:
        config = make_config(f"data.root={shapes}", "data.image_size=33", *overrides)
        return Trainer(config, out, Process(0, 1, torch.device("cpu")), Recorder(), resume)

    return make


@pytest.fixture
def start_training(shapes, make_config, tmp_path):
    """Starts the same training in processes of its own; gives the running command."""
    from arnet.config_file import config_to_dict

    def start(
        out: Path, *overrides: str, kill_at: int = 0, launcher: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        config = make_config(f"data.root={shapes}", "data.image_size=33", *overrides)
        path = tmp_path / f"{out.name}.yaml"
        path.write_text(yaml.safe_dump(config_to_dict(config)))
        script = Path(__file__).with_name("run_training.py")
        return subprocess.Popen(
            [sys.executable, *launcher, str(script), str(path), str(out)]
            + ([str(kill_at)] if kill_at else []),
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def read_log():
    """The lines of a run's log, of one kind."""

    def read(out: Path, kind: str = "train") -> list[dict[str, float]]:
        lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        return [line for line in lines if line["kind"] == kind]

    return read
