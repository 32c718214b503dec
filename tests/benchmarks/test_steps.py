"""A rehearsal of every step on the processor: the same code, the references in place of kernels."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from arnet.runtime.streams import LabelMap
from benchmarks import gpu_tests
from benchmarks.drive import ROOT, STEPS
from benchmarks.models import Task
from benchmarks.query import agreement, check
from benchmarks.recorder import Recorder
from benchmarks.rows import GPU_TESTS, KERNELS, ROWS

NOT_HERE = {"tests", "sanitizer", "tensorrt", "plan-tests"}
ON_A_GPU = {"loop/allocations", "loop/memory"}
"""Rows that only a GPU's allocator gives."""


@pytest.fixture(autouse=True)
def same_settings():
    """Models are made from seeds of their own."""
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    yield
    torch.set_rng_state(state)
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STEPS if name not in NOT_HERE])
def test_a_rehearsal_finds_every_row_of_its_step(name: str) -> None:
    recorder = Recorder(None, dry_run=True)
    importlib.import_module(STEPS[name].module).work(recorder)
    assert {row for row, result in recorder.rows.items() if "error" in result} == set()
    expected = {row for row, known in ROWS.items() if known.step == name} - ON_A_GPU
    assert recorder.rows.keys() == expected
    assert all(result["value"] is not None for result in recorder.rows.values())
    if name in ("references", "parity"):
        assert all(result["passed"] for result in recorder.rows.values())


def test_every_row_is_found_by_a_step() -> None:
    assert {row.step for row in ROWS.values()} | {"environment"} == set(STEPS)


def test_without_a_gpu_a_step_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for name in ("query", "references", "floors"):
        with pytest.raises(RuntimeError, match="torch sees no GPU"):
            importlib.import_module(STEPS[name].module).work(Recorder(None))


@pytest.mark.parametrize(
    ("absent", "name"), [("tensorrt", "TensorRT"), ("onnxruntime", "onnxruntime")]
)
def test_without_what_plans_need_their_rows_say_so(absent: str, name: str, monkeypatch) -> None:
    def find_spec(module: str) -> bool | None:
        return None if module == absent else True

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    recorder = Recorder(None)
    importlib.import_module(STEPS["tensorrt"].module).work(recorder)
    assert {row["skipped"] for row in recorder.rows.values()} == {f"{name} is not installed"}
    assert recorder.rows.keys() == {name for name, row in ROWS.items() if row.step == "tensorrt"}


def test_the_query_over_plans_is_timed_with_the_label_map_alone(monkeypatch) -> None:
    from benchmarks import plans

    class Stub:
        asked = 0

        def learn(self, images, masks):
            return "state"

        def label(self, images, states):
            assert states == {"object": "state"}
            for image in images:
                self.asked += 1
                yield LabelMap(image, {}, {"query": 0.002, "enqueue": 5.0})

        def close(self):
            self.closed = True

    stub, photographs = Stub(), [np.zeros((2, 2, 3), np.uint8)] * 3
    monkeypatch.setattr(plans.Segmenter, "load", lambda bundle, engine: stub)
    host, device = plans.query(
        Path("bundle"), SimpleNamespace(images=[], masks=[], queries=photographs)
    )
    assert device == pytest.approx(2) and 0 < host < 100
    assert stub.asked == plans.REPEATS + 10 and stub.closed


# The tests marked gpu.


def test_without_a_gpu_a_test_of_one_says_so(monkeypatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    some = {name: GPU_TESTS[name] for name in ("torch", "plans")}  # each takes a process
    monkeypatch.setattr(gpu_tests, "GPU_TESTS", some)
    recorder = Recorder(None)
    for step in ("tests", "plan-tests"):
        importlib.import_module(STEPS[step].module).work(recorder)
    assert recorder.rows.keys() == {"tests/torch", "tests/plans"}
    assert recorder.rows["tests/torch"]["skipped"] == "torch sees no GPU"
    assert "GPU" in recorder.rows["tests/plans"]["skipped"]


ENDINGS = ["", "", "<skipped message='why'/>", "<failure/>", "<error/>"]


def write_report(path: Path, *numbers: int) -> None:
    """As pytest does, of tests that ended in ``ENDINGS``."""
    cases = "".join(f"<testcase name='t{n}'>{ENDINGS[n]}</testcase>" for n in numbers)
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0, 1), {"value": 2, "passed": True, "detail": ""}),
        ((0, 2), {"value": 1, "passed": True, "detail": "1 skipped"}),
        ((2,), {"value": None, "passed": None, "skipped": "why"}),
        ((0, 3), {"value": 1, "passed": False, "detail": "1 failed; first: t3"}),
        ((4,), {"value": 0, "passed": False, "detail": "1 failed; first: t4"}),
        ((), {"value": 0, "passed": False, "detail": "it has no tests"}),
    ],
    ids=str,
)
def test_what_pytest_reports_is_told(numbers, expected, tmp_path: Path) -> None:
    write_report(tmp_path / "report.xml", *numbers)
    recorder = Recorder(None)
    gpu_tests.tell(recorder, "tests/torch", tmp_path / "report.xml")
    assert recorder.rows == {"tests/torch": expected}


def test_a_file_of_tests_that_takes_too_long_loses_nothing_of_those_before(
    tmp_path: Path, monkeypatch
) -> None:
    def run(file: str, report: Path) -> None:
        if file == GPU_TESTS["onnx-cuda"][0]:
            raise KeyboardInterrupt  # so it is stopped
        write_report(report, *((0, 3) if file == GPU_TESTS["torch"][0] else (0, 1)))

    monkeypatch.setattr(gpu_tests, "run", run)
    with pytest.raises(KeyboardInterrupt):
        gpu_tests.work(Recorder(tmp_path / "rows.json"))
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    passed = {name: row["passed"] for name, row in rows.items()}
    assert passed == {"tests/kernels": True, "tests/torch": False, "tests/torch-kernels": True}


def test_what_pytest_cannot_run_is_told_and_the_other_files_are_run(monkeypatch) -> None:
    def run(file: str, report: Path) -> None:
        if file == GPU_TESTS["kernels"][0]:
            raise RuntimeError("no pytest")
        write_report(report, 0)

    monkeypatch.setattr(gpu_tests, "run", run)
    recorder = Recorder(None)
    gpu_tests.work(recorder)
    assert recorder.rows["tests/kernels"]["error"] == "RuntimeError: no pytest"
    assert recorder.rows["tests/drivers"]["passed"] and "tests/plans" not in recorder.rows


def test_every_test_of_a_gpu_has_its_row() -> None:
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"(= |@|^ +)pytest\.mark\.gpu\b", path.read_text(), re.MULTILINE)
    }
    assert marked == {file for file, _ in GPU_TESTS.values()}


def test_a_contender_that_computes_something_else_is_left_out() -> None:
    with torch.inference_mode():
        task = Task(torch.device("cpu"), small=True)
        right = task.replay(task.drawn(task.model, torch.float32))
        assert agreement(right, right, task) == 1
        half = right(task.queries[0])["labels"]
        assert 0.2 < half.mean() < 0.8  # neither empty nor full: agreement means something
        found = task.drawn(task.model, torch.float32)
        wrong = task.replay(lambda tensors: {"labels": 1 - found(tensors)["labels"]})
        replays, recorder = {"right": right, "wrong": wrong}, Recorder(None)
        with pytest.raises(ValueError, match="wrong gives other masks than right"):
            check(recorder, replays, "right", task)
    assert list(replays) == ["right"]
    assert recorder.facts["agreement"] == {"right": 1.0, "wrong": 0.0}


def test_a_kernel_that_computes_something_else_is_found(monkeypatch) -> None:
    from benchmarks import inputs, references

    torch.manual_seed(0)
    call = inputs.of_a_query(torch.float32, small=True)[0]
    assert references.difference(call, torch.device("cpu")) < 1e-6
    wrong = inputs.Call(call.name, call.tensors, {"area": 0}, call.dtype)
    monkeypatch.setattr(inputs.Call, "to", lambda self, device: wrong)
    assert references.difference(call, torch.device("cpu")) > 0.05
    nothing = torch.full((5, 8), float("nan"))
    monkeypatch.setattr(inputs.Call, "to", lambda self, device: lambda: nothing)
    assert references.difference(call, torch.device("cpu")) == float("inf")


def test_golden_bytes() -> None:
    from benchmarks import inputs

    half = torch.float16
    pool = inputs.masked_pool(5, half)
    assert pool.moved() == 2 * 256 * 3600 + 4 * 5 * 3600 + 2 * 5 * 256
    resized = inputs.masked_pool_resized(1, half)
    assert resized.moved() == 2 * 256 * 3600 + 4 * 473 * 473 + 2 * 256
    enhance = inputs.forget_enhance(5, half)
    assert enhance.moved() == 2 * (3 * 256 * 256 * 2 + 3 * 256) + 2 * 2 * 5 * 256
    labels = inputs.postprocess("postprocess_labels", 1, half)
    assert labels.moved() == 2 * 3600 + 1080 * 1920


# compute-sanitizer, in whose place a script stands, over the emulated driver.

SCRIPT = """#!/bin/sh
while [ "$1" != "-m" ]; do shift; done
case "$*" in *--planted*) exit 9 ;; *masked_pool*) echo 'ERROR SUMMARY: 1 error'; exit 9 ;;
*forget_enhance*) echo 'not supported'; exit 1 ;;
*) echo "$3: all cases"; echo 'RACECHECK SUMMARY: 0' ;; esac
"""


def test_what_the_sanitizer_finds_is_a_row(tmp_path: Path, monkeypatch) -> None:
    from benchmarks import sanitizer

    script = tmp_path / "compute-sanitizer"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    recorder = Recorder(tmp_path / "rows.json")
    sanitizer.work(recorder)
    assert recorder.rows.keys() == {name for name, row in ROWS.items() if row.step == "sanitizer"}
    assert recorder.rows["sanitizer/control"]["passed"] is True
    assert recorder.rows["sanitizer/masked_pool/memcheck"]["passed"] is False
    assert "1 error" in recorder.rows["sanitizer/masked_pool/memcheck"]["detail"]
    assert recorder.rows["sanitizer/preprocess/racecheck"]["passed"] is True
    # Neither clean nor a finding: that is no pass.
    assert recorder.rows["sanitizer/forget_enhance/memcheck"] == {
        "value": None,
        "passed": None,
        "error": "RuntimeError: not supported",
    }


def test_without_the_sanitizer_its_rows_say_so(monkeypatch) -> None:
    from benchmarks import sanitizer

    if Path("/usr/local/cuda/bin/compute-sanitizer").is_file():
        pytest.skip("it is installed")
    monkeypatch.setenv("PATH", "/nowhere")
    recorder = Recorder(None)
    sanitizer.work(recorder)
    assert len(recorder.rows) == 1 + 4 * len(KERNELS)
    assert {row["skipped"] for row in recorder.rows.values()} == {
        "compute-sanitizer is not installed"
    }


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory):
    """The emulated driver, and a source's kernels on the processor."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = ROOT / "tests" / "kernels"
    sys.path.append(str(folder))
    from emulator import Emulator

    from arnet.kernels.compile import FOLDER

    place = tmp_path_factory.mktemp("driver")
    command = ["g++", "-x", "c", "-shared", "-fPIC", "-w", str(folder / "emulation" / "libcuda.c")]
    out = ["-Wl,-soname,libcuda.so.1", "-o", str(place / "libcuda.so.1")]
    subprocess.run([*command, *out], check=True)
    return place, lambda source: Emulator(FOLDER / f"{source}.cu", place).library._name


@pytest.mark.parametrize("name", KERNELS)
def test_the_program_under_the_sanitizer_launches_every_case(name: str, emulation) -> None:
    pytest.importorskip("cuda.core")
    from arnet.kernels.binaries import PREBUILT
    from arnet.kernels.catalogue import KERNELS as SPECS

    place, library = emulation
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(place),
        "ARNET_KERNELS": str(PREBUILT),
        "ARNET_EMULATED": library(SPECS[name].source),
    }
    command = [sys.executable, "-m", "benchmarks.launch_once", name]
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"{name}: all cases\n"


# A machine without pydantic.

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("pydantic", "pydantic_core", "pycocotools"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "pydantic" else found(name, *more)
from benchmarks.models import CHECKPOINT
import arnet.segmenter
from arnet.checkpoint import load_checkpoint
from arnet.config_file import config_to_dict
import json
print(json.dumps(config_to_dict(load_checkpoint(CHECKPOINT).config)))
"""


def test_without_pydantic_a_checkpoint_says_the_same() -> None:
    from arnet.checkpoint import load_checkpoint
    from arnet.config_file import config_to_dict
    from benchmarks.models import CHECKPOINT

    command = [sys.executable, "-c", WITHOUT]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == config_to_dict(load_checkpoint(CHECKPOINT).config)
