"""What is missing is named, all of it, with the command for where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from arnet.export.tensorrt import library
from arnet.export.tensorrt.library import Gpu, find, need, supported
from arnet.runtime.errors import BuildError, EngineError, MissingDependencyError

ROOT = Path(__file__).parents[3]
COMMAND = "arnet export --engine fp16 --checkpoint 'my model.safetensors'"


class Driver:
    """Answers as cuda.bindings.driver does: a status, then what was asked for."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
    )

    class Status(int):
        name = "CUDA_ERROR_NO_DEVICE"

    def __init__(self, status: int = 0) -> None:
        self.status = self.Status(status)

    def cuInit(self, flags):  # noqa: N802
        return (self.status,)

    def cuDeviceGet(self, ordinal):  # noqa: N802
        return self.status, f"device {ordinal}"

    def cuDeviceGetName(self, length, device):  # noqa: N802
        return self.status, b"NVIDIA H200" + b"\0" * (length - 11)

    def cuDeviceGetAttribute(self, attribute, device):  # noqa: N802
        return self.status, {"major": 9, "minor": 0}[attribute]

    def cuDriverGetVersion(self):  # noqa: N802
        return self.status, 13010


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Sets which TensorRT and driver there are, and why nothing can run on the GPU."""

    def set_up(tensorrt: str | None, driver: Driver | None, undriven: str = "") -> None:
        package = ModuleType("tensorrt")
        package.__version__ = tensorrt or ""
        found = {"tensorrt": package if tensorrt else None, "cuda.bindings.driver": driver}

        def imported(name: str):
            if found[name] is None:
                raise ImportError(f"No module named {name!r}")
            return found[name]

        def open_driver() -> None:
            if undriven:
                raise EngineError(undriven, "")

        monkeypatch.setattr(library, "import_module", imported)
        monkeypatch.setattr(library, "open_driver", open_driver)
        monkeypatch.setattr(library, "describe_gpu", lambda: {"driver": "580.65.06"})

    return set_up


def test_what_is_there_is_found(machine) -> None:
    machine("11.4.0.106", Driver())
    tools = find(COMMAND)
    assert tools.version == "11.4.0.106"
    assert tools.gpu == Gpu("NVIDIA H200", (9, 0), "580.65.06", "13.1")


@pytest.mark.parametrize(
    ("tensorrt", "driver", "told"),
    [
        (None, Driver(), ["TensorRT is not installed"]),
        ("11.4.0.106", None, ["no NVIDIA GPU that can be used (No module named"]),
        ("11.4.0.106", Driver(100), ["no NVIDIA GPU", "CUDA_ERROR_NO_DEVICE"]),
        (None, None, ["TensorRT is not installed", "no NVIDIA GPU"]),
        ("10.14.1.48", Driver(), ["TensorRT 10.14.1.48 is installed", library.REQUIREMENT]),
        ("10.9.0.34", Driver(100), ["TensorRT 10.9", "no NVIDIA GPU"]),
    ],
)
def test_all_that_is_missing_is_named_with_the_command(machine, tensorrt, driver, told) -> None:
    machine(tensorrt, driver)
    with pytest.raises(MissingDependencyError) as caught:
        find(COMMAND)
    for text in told:
        assert text in caught.value.message
    assert caught.value.hint.endswith(f"'{library.REQUIREMENT}' && {COMMAND}")


def test_what_the_gate_could_not_run_plans_with_is_found_before_any_is_built(machine) -> None:
    machine("11.4.0.106", Driver(), "no GPU can be used: cuda.core cannot be used (No module)")
    with pytest.raises(MissingDependencyError, match=r"cuda\.core cannot be used") as caught:
        find(COMMAND)
    assert " cuda-bindings cuda-core '" in caught.value.hint


def test_this_machine_says_what_it_lacks() -> None:
    """With the real modules: on a machine with all of it there is nothing to say."""
    try:
        assert find(COMMAND).version
    except MissingDependencyError as error:
        assert COMMAND in error.hint
    assert "tensorrt" not in sys.modules or sys.modules["tensorrt"].__version__


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("10.12.0.36", False), ("10.13.3.9", True), ("10.14.1.48.post1", False),
        ("10.15.1.29", True), ("10.16.1.11", True), ("11.0.0.114", True), ("11.4.0.106", True),
        ("12.0.0", False), ("9.3.0", False), ("strange", False),
    ],
)  # fmt: skip
def test_the_versions_that_plans_are_built_with(version, expected) -> None:
    assert supported(version) is expected


@pytest.mark.parametrize("answer", [None, False])
def test_a_refusal_is_an_error(answer) -> None:
    with pytest.raises(BuildError, match="TensorRT refused the profile"):
        need(answer, "the profile")


@pytest.mark.parametrize("answer", [0, True, b"", [], "text"])
def test_an_answer_is_passed_on(answer) -> None:
    assert need(answer, "it") is answer


def test_the_gpu_is_asked_through_the_real_bindings_of_cuda(tmp_path) -> None:
    """Over the driver that the tests of the kernels emulate, in a process of its own."""
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    if (compiler := shutil.which("gcc")) is None:
        pytest.skip("gcc is not installed")
    source = ROOT / "tests" / "kernels" / "emulation" / "libcuda.c"
    command = [compiler, "-shared", "-fPIC", "-w", str(source), "-Wl,-soname,libcuda.so.1"]
    subprocess.run([*command, "-o", str(tmp_path / "libcuda.so.1")], check=True)
    code = """
from importlib import import_module
from arnet.export.tensorrt import library
library.describe_gpu = lambda: None
print(library._gpu(import_module("cuda.bindings.driver")))
"""
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(tmp_path),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        },
        capture_output=True,
        text=True,
    )
    expected = Gpu("emulated", (8, 0), "unknown", "13.0")
    assert finished.stdout.strip() == str(expected), finished.stderr
