"""What is known of the machine, and that the unknown is not invented."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from arnet.runtime.benchmark.environment import (
    ProcessorTimes,
    cpu_model,
    describe_environment,
    usable_cores,
)
from arnet.runtime.benchmark.gpu import FIELDS, describe_gpu

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_environment_is_described() -> None:
    found = describe_environment()
    assert found["packages"]["numpy"] == metadata.version("numpy")
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)
    assert found["memory_bytes"] > 2**28
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_nothing_that_computes_is_imported_to_learn_its_version() -> None:
    code = (
        "import sys; from arnet.runtime.benchmark.environment import describe_environment as d;"
        "d(); print([m for m in ('torch', 'onnxruntime', 'openvino') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.stdout.strip() == "[]", finished.stderr


def test_the_processor_is_named_by_its_model(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU @ 2.00GHz\n")
    assert cpu_model(str(path)) == "Some CPU @ 2.00GHz"


@linux
def test_cores_are_those_the_process_may_use() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from arnet.runtime.benchmark.environment import usable_cores as u; print(u())"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.stdout.strip() == "1", finished.stderr
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_golden_use_of_the_cores() -> None:
    used = ProcessorTimes(110.0, 61.0, 2.5, 8.0).cores_since(ProcessorTimes(100.0, 50.0, 2.0, 3.0))
    assert used == {"own": 0.5, "others": 0.6, "stolen": 0.05}


def test_what_the_system_does_not_tell_is_not_recorded(tmp_path: Path) -> None:
    now = ProcessorTimes.now(str(tmp_path / "none"))
    assert (now.busy, now.stolen) == (None, None)
    assert now.cores_since(now)["others"] is None


@linux
def test_the_work_of_another_process_is_seen_and_is_not_ours() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            before = ProcessorTimes.now()
            time.sleep(1.0)
            used = ProcessorTimes.now().cores_since(before)
        finally:
            other.kill()
    assert used["others"] > 0.3
    assert used["own"] < 0.2


def test_without_a_driver_nothing_is_said_of_a_gpu(tmp_path: Path) -> None:
    assert describe_gpu(str(tmp_path / "nvidia-smi")) is None


@linux
def test_what_the_drivers_tool_prints_is_read(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    values = "NVIDIA H200, 9.0, 580.1, 143771, 700.00, 1980, 1980, 31, 0x0000000000000001, Enabled"
    tool.write_text(f"#!/bin/sh\ncase $1 in --query-gpu=name,*) echo '{values}';; esac\n")
    tool.chmod(0o755)
    found = describe_gpu(str(tool))
    assert found is not None
    assert found["name"] == "NVIDIA H200"
    assert found["sm_clock_mhz"] == "1980"
    assert list(found) == list(FIELDS)


@linux
def test_a_driver_that_does_not_answer_is_no_gpu(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    tool.chmod(0o755)
    assert describe_gpu(str(tool)) is None
