"""A step that fails, hangs or dies loses nothing of the others, nor what it had found itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import drive
from benchmarks.drive import Program, run_step
from benchmarks.recorder import Recorder, first_line
from benchmarks.report import found, page

BEGIN = """
from benchmarks.recorder import main
def work(recorder):
    recorder.row("query/device", 0.5, detail="told early")
"""
ENDS = {
    "well": "    recorder.row('query/host', 2.0)",
    "badly": "    raise ValueError('a thing is wrong\\nand more of it')",
    "never": "    import time; time.sleep(600)",
    "by a signal": "    import os; os.kill(os.getpid(), 11)",
    "with a child": (
        "    import subprocess, sys\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "    recorder.fact('child', child.pid)\n"
        "    child.wait()"
    ),
}


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a step of some lines of Python."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(drive.__file__).parents[1]}")

    def make(end: str, limit: float = 60) -> Program:
        name = f"step_{end.replace(' ', '_')}"
        (tmp_path / f"{name}.py").write_text(f"{BEGIN}{ENDS[end]}\nmain(work)\n")
        return Program(name, limit)

    return make


@pytest.mark.parametrize(
    ("end", "limit", "status", "error"),
    [
        ("well", 60, "done", ""),
        ("badly", 60, "failed", "ValueError: a thing is wrong"),
        ("never", 3, "stopped", "stopped after 3 s"),
        ("by a signal", 60, "failed", "ended by signal 11"),
    ],
)
def test_how_a_step_ended_is_told_and_what_it_found_is_kept(
    end: str, limit: float, status: str, error: str, step, tmp_path: Path
) -> None:
    found = run_step(step(end), limit, False, tmp_path / "log.txt")
    assert found["status"] == status and found["error"].startswith(error)
    assert found["rows"]["query/device"] == {
        "value": 0.5,
        "passed": True,
        "detail": "told early",
    }
    assert ("query/host" in found["rows"]) == (end == "well")


def test_what_a_step_started_ends_with_it(step, tmp_path: Path) -> None:
    found = run_step(step("with a child"), 4, False, tmp_path / "log.txt")
    state = Path(f"/proc/{found['facts']['child']}/stat")
    for _ in range(50):
        if not state.exists() or ") Z " in state.read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the child still runs")


def test_the_others_run_and_each_is_written_at_once(step, tmp_path: Path, monkeypatch) -> None:
    steps = {"a": step("badly"), "b": step("never", 3), "query": step("well")}
    monkeypatch.setattr(drive, "STEPS", steps)
    monkeypatch.setattr(drive, "commit", lambda: "abc")
    results = drive.drive(tmp_path / "out", 100, list(steps), dry_run=False, command="this")
    assert (results["command"], results["commit"]) == ("this", "abc")
    assert [one["status"] for one in results["steps"].values()] == ["failed", "stopped", "done"]
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == results
    assert found(written, "query/host")["passed"] is False
    # What the step did not come to has no figure.
    assert found(written, "query/eager") == {"error": "the step did not come to it"}
    assert (tmp_path / "out" / "gpu-results.md").read_text() == page(results)
    assert "a thing is wrong" in (tmp_path / "out" / "log.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "gpu-results.md",
        "log.txt",
        "results.json",
    ]


def test_when_the_time_is_up_the_rest_has_not_run(step, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(drive, "STEPS", {"a": step("never", 60), "query": step("well")})
    began = time.monotonic()
    results = drive.drive(tmp_path / "out", 12, ["a", "query"], dry_run=False)
    assert time.monotonic() - began < 20
    assert results["steps"]["a"]["status"] == "stopped"
    assert results["steps"]["query"]["status"] == "skipped"
    assert found(results, "query/host") == {"skipped": "no time was left"}


def test_a_piece_of_work_that_fails_is_a_row(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rows.json")

    def work() -> None:
        recorder.row("stage/decode", 1.0)
        raise ArithmeticError("\nno number\nat all")

    recorder.attempt(["stage/decode", "stage/encode_image"], work)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert rows["stage/decode"]["value"] == 1.0
    assert rows["stage/encode_image"]["error"] == "ArithmeticError: no number"
    assert first_line(MemoryError()) == "MemoryError"
    with pytest.raises(KeyError, match="no row"):
        recorder.row("stage/abacus", 1.0)


def test_the_script_refuses_a_step_that_is_not_there(tmp_path: Path) -> None:
    root = Path(drive.__file__).parents[1]
    finished = subprocess.run(
        [root / "benchmarks" / "gpu.sh", "--dry-run", "--steps", "query,abacus"],
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert "there is no step abacus; they are environment, references" in finished.stderr


@pytest.mark.skipif(drive.has_gpu(), reason="torch sees a GPU: all of it would run")
def test_without_a_gpu_nothing_is_written(tmp_path: Path) -> None:
    root = Path(drive.__file__).parents[1]
    page = (root / "docs" / "gpu-results.md").read_bytes()
    finished = subprocess.run(
        [root / "benchmarks" / "gpu.sh"],
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert "error: torch sees no GPU here\nhint: --dry-run" in finished.stderr
    assert not (tmp_path / "out").exists()
    assert (root / "docs" / "gpu-results.md").read_bytes() == page


def test_the_commit_is_that_of_the_checkout_itself(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        person = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", *person, *words]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD").strip()
    assert drive.commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert drive.commit(tmp_path) == f"{commit}-dirty"
    (tmp_path / "copy").mkdir()
    assert drive.commit(tmp_path / "copy") is None, "the commit around a copy is not its own"


@pytest.mark.parametrize(("failing", "code"), [("report", 3), ("drive", 3), ("nothing", 0)])
def test_the_script_fails_if_a_program_of_it_does(failing: str, code: int, tmp_path: Path) -> None:
    """A copy of the script with a Python that only tells what it was asked."""
    (tmp_path / "benchmarks").mkdir()
    script = tmp_path / "benchmarks" / "gpu.sh"
    script.write_bytes((Path(drive.__file__).parent / "gpu.sh").read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gpu-results.md").write_text("## Query\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@"\n[ "$2" != benchmarks.{failing} ] || exit 3\n')
    python.chmod(0o755)
    finished = subprocess.run(
        ["bash", script, "--steps", "query"],
        env={"PYTHON": str(python), "PATH": "/usr/bin:/bin", "OUT": "out"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == code, finished.stderr
    assert "-m benchmarks.drive --out out --steps query" in finished.stdout
    assert ("-m benchmarks.report out/results.json" in finished.stdout) == (failing != "drive")
