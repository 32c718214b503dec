"""The log of a training: one JSON object per line, and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """Writes numbers as they come; the file can be followed while it grows."""

    def __init__(self, folder: Path, iteration: int) -> None:
        """Open the log of a run that is at ``iteration``; later lines, of a killed run, go."""
        self.path = folder / "log.jsonl"
        kept = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["iteration"] <= iteration:
                        kept.append(line + "\n")
                except (ValueError, KeyError):
                    continue  # half a line of a killed process
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(kept), encoding="utf-8")
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=iteration + 1)

    def write(self, kind: str, iteration: int, **values: Any) -> None:
        """Log numbers.

        Args:
            kind: "train" or "validation".
            iteration: optimisation steps done.
            values: numbers by name; None is left out.
        """
        known = {name: value for name, value in values.items() if value is not None}
        line = {"kind": kind, "iteration": iteration, **known}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in known.items():
            if isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{name}", value, iteration)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._board.close()
