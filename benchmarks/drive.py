"""Runs every step in a process of its own with its own limit, and keeps what each has found.

python -m benchmarks.drive --out DIR [--budget SECONDS] [--steps a,b] [--dry-run]

``results.json`` is written anew after each step, ``gpu-results.md`` from it; ``log.txt`` holds what
the steps printed. A step that fails or takes too long stops nothing but itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import FORMAT, SCHEMA_VERSION, save

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Program:
    """What a step runs.

    Attributes:
        module: run by ``python -m``.
        limit: seconds that it may take.
    """

    module: str
    limit: float


STEPS = {
    "environment": Program("benchmarks.environment", 40),
    "references": Program("benchmarks.references", 100),
    "query": Program("benchmarks.query", 110),
    "floors": Program("benchmarks.kernels", 90),
    "parity": Program("benchmarks.parity", 60),
    "loop": Program("benchmarks.loop", 45),
    "compiled": Program("benchmarks.compiled", 210),
    "sanitizer": Program("benchmarks.sanitizer", 150),
    "ablation": Program("benchmarks.ablation", 70),
    "tests": Program("benchmarks.gpu_tests", 100),
    "tensorrt": Program("benchmarks.plans", 250),
    "plan-tests": Program("benchmarks.plan_tests", 200),
}
"""By name, the most important first: a later one may find no time."""

LEAST = 10
"""Seconds below which a step is not begun."""


def run_step(program: Program, limit: float, dry_run: bool, log: Path) -> dict[str, Any]:
    """Run a step's program.

    Returns:
        "status" ("done", "failed", "stopped"), "seconds", "error" (a line, or empty), and the rows
        and facts that it wrote.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", program.module, "--out", str(out)]
        command += ["--dry-run"] if dry_run else []
        with log.open("ab") as output:
            output.write(f"\n=== {program.module}\n".encode())
            output.flush()
            start = output.tell()
            # A session of its own, so that what it starts ends with it.
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            try:
                code = process.wait(limit)
                status, error = ("done", "") if code == 0 else ("failed", last_words(log, start))
                if code < 0:
                    error = f"ended by signal {-code}: {error}"
            except subprocess.TimeoutExpired:
                status, error = "stopped", f"stopped after {limit:.0f} s"
            finally:
                stop(process)
        found = read(out)
    return {
        "status": status,
        "seconds": round(time.monotonic() - began, 1),
        "error": error,
        **found,
    }


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(log: Path, start: int) -> str:
    """The first line of the last error that a step printed, else its last line."""
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines()
    lines = [line for line in lines if line.strip()]
    traces = [n for n, line in enumerate(lines) if line.startswith("Traceback")]
    told = (
        [line for line in lines[traces[-1] + 1 :] if not line[0].isspace()]
        if traces
        else lines[-1:]
    )
    return told[0][:300] if told else "it said nothing"


def read(out: Path) -> dict[str, Any]:
    """What a step wrote; nothing where it wrote nothing."""
    try:
        found: dict[str, Any] = json.loads(out.read_text())
    except (OSError, ValueError):
        return {"rows": {}, "facts": {}}
    return found


def commit(folder: Path = ROOT) -> str | None:
    """The commit of a checkout, ``-dirty`` behind it where files differ; None without git."""
    if not (folder / ".git").exists():
        return None  # a copy, and what git would tell is of another repository around it
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None


def has_gpu() -> bool:
    """Whether torch sees a GPU; asked in a process of its own, which loads torch."""
    asked = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def drive(
    out: Path, budget: float, names: list[str], dry_run: bool, command: str = ""
) -> dict[str, Any]:
    """Run steps by name within a budget of seconds; the results, which are also in ``out``."""
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "dry_run": dry_run,
        "command": command,
        "commit": commit(),
        "steps": {},
    }
    for name in names:
        left = budget - (time.monotonic() - began)
        if left < LEAST:
            found: dict[str, Any] = {
                "status": "skipped", "seconds": 0, "error": "no time was left",
                "rows": {}, "facts": {},
            }  # fmt: skip
        else:
            sys.stdout.write(f"{name} ... ")
            sys.stdout.flush()
            program = STEPS[name]
            found = run_step(program, min(program.limit, left), dry_run, out / "log.txt")
        results["steps"][name] = found
        save(results, out / "results.json", out / "gpu-results.md")
        sys.stdout.write(f"{name} {found['status']} {found['seconds']} s {found['error']}\n")
        sys.stdout.flush()
    return results


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=570)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--dry-run", action="store_true", help="a rehearsal on the processor")
    given = parser.parse_args()
    names = given.steps.split(",")
    if unknown := sorted(set(names) - set(STEPS)):
        parser.error(f"there is no step {', '.join(unknown)}; they are {', '.join(STEPS)}")
    if not given.dry_run and not has_gpu():
        # Every row would fail, and docs/ would say so in place of what was measured elsewhere.
        parser.exit(2, "error: torch sees no GPU here\nhint: --dry-run rehearses on a processor\n")
    command = shlex.join(["python", "-m", "benchmarks.drive", *sys.argv[1:]])
    drive(given.out, given.budget, names, given.dry_run, command)


if __name__ == "__main__":
    main()
