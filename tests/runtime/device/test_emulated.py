"""The GPU's side of the runtime, with the real cuda.core and pycuda over an emulated driver."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE))

from emulated_gpu import KERNELS, environment  # noqa: E402

PARTS = ("drivers", "engine", "memory", "refusals")
NEEDED = {"cuda.core": ("cuda.core",), "pycuda": ("pycuda", "cuda.core")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("emulated-gpu")


@pytest.mark.parametrize("library", NEEDED)
def test_on_the_emulated_gpu(library: str, folder: Path) -> None:
    for module in ("onnx", "onnxruntime", *NEEDED[library]):
        top = module.partition(".")[0]
        if importlib.util.find_spec(top) is None or importlib.util.find_spec(module) is None:
            how = ": python tests/kernels/install_pycuda.py" if module == "pycuda" else ""
            pytest.skip(f"{module} is not installed{how}")
    if shutil.which("g++") is None or not KERNELS.is_dir():
        pytest.skip("the emulation needs g++ and the folder tests/kernels")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "on_emulated_common", "--rootdir", str(HERE.parents[2])]
    command += ["--import-mode=importlib"]
    command += [str(HERE / f"on_emulated_{part}.py") for part in PARTS]
    finished = subprocess.run(
        command, env=environment(folder, library), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout[-20_000:] + finished.stderr[-2000:]
    assert " passed" in finished.stdout
