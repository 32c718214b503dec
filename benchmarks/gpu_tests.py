"""The tests that are marked ``gpu``, by pytest."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks.models import ROOT
from benchmarks.recorder import Recorder, main

PROGRAM = "import sys, benchmarks, pytest; sys.exit(pytest.main(sys.argv[1:]))"
"""With pydantic or what stands in for it."""


def work(recorder: Recorder) -> None:
    """The row of the step."""
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors",
               "tests/kernels", "tests/modeling", "tests/runtime", "tests/export"]  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, *options]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    sys.stdout.write(finished.stdout[-4000:] + finished.stderr[-4000:])
    last = next((line for line in reversed(finished.stdout.splitlines()) if " in " in line), "")
    counts = {kind: int(number) for number, kind in re.findall(r"(\d+) (\w+)", last)}
    passed = finished.returncode == 0 and counts.get("passed", 0) > 0
    recorder.row("tests/gpu", counts.get("passed", 0), passed, last.strip("= ") or "pytest failed")


if __name__ == "__main__":
    main(work)
