"""Launches through the real cuda.core and pycuda, over a driver that runs kernels on the processor.

What is tested is the packing of arguments and the launch arithmetic; "torch" is what the operators
of torch call on a GPU. The code that is loaded is the shipped PTX: NVRTC does not run beside a
driver that is not whole. pycuda has no wheel; ``install_pycuda.py`` builds it, as .ci/run does.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import CASES

from arnet.kernels.binaries import PREBUILT
from arnet.kernels.catalogue import KERNELS
from arnet.kernels.errors import KernelError
from arnet.kernels.launch import CudaCoreLauncher, Prepared, PycudaLauncher

HERE = Path(__file__).parent
LIBRARIES = {
    "cuda.core": "cuda-core is not installed",
    "pycuda": "pycuda is not installed: python tests/kernels/install_pycuda.py",
    "torch": "torch is not installed",
}
"""What says that a library is missing, by the library."""


@pytest.fixture(scope="session")
def driver(gcc: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the emulated libcuda.so.1."""
    folder = tmp_path_factory.mktemp("driver")
    command = [gcc, "-x", "c", "-shared", "-fPIC", "-w", str(HERE / "emulation" / "libcuda.c")]
    library = folder / "libcuda.so.1"
    subprocess.run([*command, "-Wl,-soname,libcuda.so.1", "-o", str(library)], check=True)
    return folder


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_launch_computes_what_the_reference_does(
    library: str, name: str, driver: Path, emulator
) -> None:
    top, _, module = library.partition(".")
    missing = importlib.util.find_spec(top) is None
    if missing or (module and importlib.util.find_spec(library) is None):
        pytest.skip(LIBRARIES[library])
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver),
        "ARNET_KERNELS": str(PREBUILT),
        "ARNET_EMULATED": emulator(KERNELS[name].source).library._name,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, str(HERE / "launch_cases.py"), library, name]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    labels = [case.label for case in CASES if case.kernel == name]
    assert finished.stdout.split() == labels


def there_is_a_gpu() -> bool:
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


@pytest.mark.skipif(there_is_a_gpu(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(KernelError) as caught:
        CudaCoreLauncher()
    assert "nvidia-smi" in caught.value.hint


def test_without_pycuda_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(KernelError, match=r"pycuda\.driver cannot be used") as caught:
        PycudaLauncher()
    assert "pip install pycuda" in caught.value.hint


def test_a_wrong_number_of_addresses_is_told() -> None:
    spec = KERNELS["masked_pool"]
    plan = spec.plan("float32", [(1, 2, 3, 3), (1, 1, 3, 3)], area=1)
    launched: list[object] = []
    prepared = Prepared(spec, plan, lambda *arguments: launched.append(arguments))
    with pytest.raises(KernelError, match="2 inputs and 1 outputs, not 1 and 1"):
        prepared(None, [256], [512])
    prepared(None, [256, 512], [1024])
    assert launched == [(None, [256, 512], [1024])]
