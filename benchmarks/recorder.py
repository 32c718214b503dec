"""The rows of one step, written as JSON as they come: what a killed step had found is kept."""

from __future__ import annotations

import argparse
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from arnet.runtime.benchmark.nvml import Watch
from benchmarks.rows import ROWS, verdict

Row = dict[str, Any]
"""``value`` (None where the row is a judgement alone), ``passed`` (None where there is no target),
``detail``; or ``error``, the first line of what went wrong; or ``skipped``, why it cannot run."""


@dataclass
class Recorder:
    """Where a step writes to.

    Attributes:
        path: the JSON file; None to keep all in memory.
        dry_run: whether it is a rehearsal on a processor.
        rows: what was found, by the names of ``rows.ROWS``.
        facts: what else is worth keeping.
    """

    path: Path | None
    dry_run: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def row(self, name: str, value: float | None = None, passed: bool | None = None,
            detail: str = "") -> None:  # fmt: skip
        """Write a row; its verdict follows from its target unless ``passed`` is given."""
        if name not in ROWS:
            raise KeyError(f"there is no row {name}")
        judged = verdict(ROWS[name], value) if passed is None else passed
        self._put({name: {"value": value, "passed": judged, "detail": detail}})

    def fact(self, name: str, value: Any) -> None:
        """Write something else."""
        with self._lock:
            self.facts[name] = value
        self.write()

    def attempt(self, names: str | list[str], work: Callable[[], Any]) -> Any:
        """Do some work; if it fails, the rows it was to give say so, and all else goes on."""
        try:
            return work()
        except Exception as error:
            traceback.print_exc()
            wanted = [names] if isinstance(names, str) else names
            missing = [name for name in wanted if name not in self.rows]
            failed = {"value": None, "passed": None, "error": first_line(error)}
            self._put(dict.fromkeys(missing, failed))
            return None

    def skip(self, names: list[str], reason: str) -> None:
        """Say why some rows cannot be had here."""
        self._put({key: {"value": None, "passed": None, "skipped": reason} for key in names})

    def _put(self, rows: dict[str, Row]) -> None:
        with self._lock:
            self.rows.update(rows)
        self.write()

    def write(self) -> None:
        """Write everything, at once."""
        if self.path is None:
            return
        with self._lock:
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"rows": self.rows, "facts": self.facts}, indent=1))
            temporary.replace(self.path)


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    text = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def main(work: Callable[[Recorder], None]) -> None:
    """Run a step as a program: ``--out FILE [--dry-run]``. The GPU is watched meanwhile."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry-run", action="store_true", help="a rehearsal on the processor")
    given = parser.parse_args()
    recorder = Recorder(given.out, given.dry_run)
    recorder.write()
    with Watch() as watch:
        work(recorder)
    recorder.fact("gpu", watch.summary())
