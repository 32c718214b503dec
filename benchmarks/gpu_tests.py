"""The tests that are marked ``gpu``, by pytest: a process, a report and a row for each file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.models import ROOT
from benchmarks.recorder import Recorder, main
from benchmarks.rows import GPU_TESTS, ROWS

PROGRAM = "import sys, benchmarks, pytest; sys.exit(pytest.main(sys.argv[1:]))"
"""With pydantic or what stands in for it."""


def run(file: str, report: Path, *chosen: str) -> None:
    """Run the tests of a file; pytest writes its report.

    Args:
        file: below the root of the repository.
        report: where to.
        chosen: options of pytest that choose some of them.

    Raises:
        RuntimeError: pytest could not.
    """
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    command = [sys.executable, "-c", PROGRAM, *options, *chosen, file]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    sys.stdout.write(finished.stdout[-4000:] + finished.stderr[-4000:])
    if not report.exists():
        raise RuntimeError((finished.stderr.strip().splitlines() or ["pytest failed"])[-1])


def tell(recorder: Recorder, row: str, report: Path) -> None:
    """The row of a file, from pytest's report."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    wrong = [case for case in cases if {part.tag for part in case} & {"failure", "error"}]
    skipped = [found for case in cases if (found := case.find("skipped")) is not None]
    passed = len(cases) - len(wrong) - len(skipped)
    if skipped and not wrong and not passed:
        recorder.skip([row], str(skipped[0].get("message")))
        return
    detail = ", ".join(
        f"{len(each)} {word}" for each, word in ((wrong, "failed"), (skipped, "skipped")) if each
    )
    detail += f"; first: {wrong[0].get('name')}" if wrong else ""
    detail = detail if cases else "it has no tests"
    recorder.row(row, passed, bool(cases) and not wrong, detail)


def work(recorder: Recorder, step: str = "tests", *chosen: str) -> None:
    """All rows of a step, each written when its file is done; ``drive.STEPS`` has the limit."""

    def judge(file: str, row: str, report: Path) -> None:
        run(file, report, *chosen)
        tell(recorder, row, report)

    with tempfile.TemporaryDirectory() as folder:
        for name, (file, _) in GPU_TESTS.items():
            row = f"tests/{name}"
            if ROWS[row].step == step:
                recorder.attempt(row, partial(judge, file, row, Path(folder) / f"{name}.xml"))


if __name__ == "__main__":
    main(work)
