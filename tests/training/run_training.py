"""A training in a process of its own, which kills itself after an iteration if it is told to.

Usage: python run_training.py CONFIG OUT [ITERATION]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from arnet.config_file import load_config
from arnet.training.distributed import join_processes
from arnet.training.trainer import Trainer


class Killer:
    """A reporter that ends the process in the middle of its work."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def message(self, text: str) -> None:
        pass

    def caching(self, done: int, total: int) -> None:
        pass

    def step(self, iteration: int, total: int, losses: dict[str, float]) -> None:
        if iteration == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    config, out, *iteration = sys.argv[1:]
    with join_processes("cpu") as process:
        reporter = Killer(int(iteration[0]) if iteration else 0)
        Trainer(load_config(Path(config)), Path(out), process, reporter).run()
