"""The tests that are marked ``gpu``, by pytest."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.models import ROOT
from benchmarks.recorder import Recorder, main
from benchmarks.rows import GPU_TESTS

PROGRAM = "import sys, benchmarks, pytest; sys.exit(pytest.main(sys.argv[1:]))"
"""With pydantic or what stands in for it."""


def run(report: Path) -> None:
    """Run the tests; pytest writes its report. `drive.STEPS` has their limit, and ends them all.

    Raises:
        RuntimeError: pytest could not.
    """
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors",
               "-o", "junit_family=xunit1", f"--junit-xml={report}"]  # fmt: skip
    files = [file for file, _ in GPU_TESTS.values()]
    command = [sys.executable, "-c", PROGRAM, *options, *files]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    sys.stdout.write(finished.stdout[-4000:] + finished.stderr[-4000:])
    if not report.exists():
        raise RuntimeError((finished.stderr.strip().splitlines() or ["pytest failed"])[-1])


def tell(recorder: Recorder, report: Path) -> None:
    """The rows, from pytest's report."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    for name, (file, _) in GPU_TESTS.items():
        own = [case for case in cases if case.get("file") == file]
        wrong = [case for case in own if {part.tag for part in case} & {"failure", "error"}]
        skipped = [found for case in own if (found := case.find("skipped")) is not None]
        passed = len(own) - len(wrong) - len(skipped)
        detail = ", ".join(
            f"{len(each)} {word}"
            for each, word in ((wrong, "failed"), (skipped, "skipped"))
            if each
        )
        if skipped and not wrong and not passed:
            recorder.skip([f"tests/{name}"], str(skipped[0].get("message")))
            continue
        detail += f"; first: {wrong[0].get('name')}" if wrong else ""
        detail = detail if own else "it was not read"
        recorder.row(f"tests/{name}", passed, bool(own) and not wrong, detail)


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        rows = [f"tests/{name}" for name in GPU_TESTS]
        recorder.attempt(rows, lambda: (run(report), tell(recorder, report)))


if __name__ == "__main__":
    main(work)
