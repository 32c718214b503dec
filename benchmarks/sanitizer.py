"""compute-sanitizer on every kernel, and on kernels with a fault each, which it has to find."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.recorder import Recorder, main
from benchmarks.rows import KERNELS, ROWS, TOOLS

LIMIT = 60
"""Seconds for one run."""

TOGETHER = 8
"""Runs at a time: what it checks is not time."""

FOUND = 9
"""Its exit code when it found something."""

FAULTS = {"memcheck": "beyond", "racecheck": "racing", "initcheck": "unset"}


def program() -> str:
    """Where compute-sanitizer is.

    Raises:
        FileNotFoundError: it is not installed.
    """
    places = [os.environ.get("PATH", ""), "/usr/local/cuda/bin", "/opt/nvidia/compute-sanitizer"]
    found = shutil.which("compute-sanitizer", path=os.pathsep.join(places))
    if found is None:
        raise FileNotFoundError("compute-sanitizer is not installed")
    return found


def run(tool: str, *arguments: str) -> tuple[int, str]:
    """Run the program under one tool: its exit code and its last words."""
    command = [program(), "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "3",
               sys.executable, "-m", "benchmarks.launch_once", *arguments]  # fmt: skip
    root = Path(__file__).parents[1]
    finished = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=LIMIT)
    output = finished.stdout + finished.stderr
    sys.stdout.write(f"--- {tool} {' '.join(arguments)}: {finished.returncode}\n{output[-3000:]}\n")
    return finished.returncode, output


def check(recorder: Recorder, name: str, tool: str) -> None:
    """A row: nothing was found and the program came to its end."""
    code, output = run(tool, name)
    lines = [line.strip("= ") for line in output.splitlines() if line.strip("= ")]
    passed = code == 0 and f"{name}: all cases" in output
    if not passed and code != FOUND:  # neither clean nor a finding: the tool does not work here
        raise RuntimeError(lines[-1] if lines else f"exit code {code}")
    summary = [line for line in lines if re.search(r"SUMMARY|Invalid|Race|Uninit|Barrier", line)]
    recorder.row(f"sanitizer/{name}/{tool}", passed=passed, detail="; ".join(summary[:2]))


def control(recorder: Recorder) -> None:
    """The row of the planted faults."""
    found = {fault: run(tool, "--planted", fault)[0] == FOUND for tool, fault in FAULTS.items()}
    words = {"beyond": "a step beyond the end", "racing": "a race", "unset": "memory never written"}
    missed = [words[fault] for fault, hit in found.items() if not hit]
    detail = f"missed: {', '.join(missed)}" if missed else ", ".join(words.values())
    recorder.row("sanitizer/control", passed=not missed, detail=detail)


def work(recorder: Recorder) -> None:
    """All rows of the step, the most telling tools first."""
    try:
        program()
    except FileNotFoundError as error:
        recorder.skip([name for name, row in ROWS.items() if row.step == "sanitizer"], str(error))
        return
    recorder.attempt("sanitizer/control", partial(control, recorder))

    def checked(names: tuple[str, str]) -> None:
        tool, name = names
        recorder.attempt(f"sanitizer/{name}/{tool}", partial(check, recorder, name, tool))

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(checked, product(TOOLS, KERNELS)))


if __name__ == "__main__":
    main(work)
