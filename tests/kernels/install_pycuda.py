"""Builds pycuda into this environment, on a machine without a GPU, a driver or the CUDA toolkit.

pycuda has no wheel. Here it is built against the headers of NVIDIA's packages and linked to the
emulated driver of these tests, in whose place a real one is loaded where there is one. Takes a
minute and needs g++, the headers of Python and the network.

    python tests/kernels/install_pycuda.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PYCUDA = "pycuda==2026.1"
NEEDS = ("mako", "platformdirs", "pytools")
TOOLS = ("setuptools<82", "wheel", "nvidia-cuda-profiler-api>=13.0,<13.1",
         "nvidia-cuda-runtime>=13.0,<13.1")  # fmt: skip
"""What the build alone needs: it is not left in the environment."""

SITECONF = """
CUDA_ROOT = {headers!r}
CUDA_INC_DIR = [{headers!r}]
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = [{driver!r}]
CXXFLAGS = ["-O0", "-g0", "-w"]
LDFLAGS = ["-Wl,--no-as-needed"]
"""


def command(*words: str, **changed: str) -> None:
    """Run a command; its words are shown if it fails.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, **changed}
    finished = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")


def pip(*words: str, **changed: str) -> None:
    """Run pip of this environment, quietly."""
    command(sys.executable, "-m", "pip", *words, "--quiet", **changed)


def build(folder: Path) -> None:
    """Build and install it; all that is left over lies in a folder.

    Raises:
        RuntimeError: something is missing or failed.
    """
    if shutil.which("g++") is None:
        raise RuntimeError("g++ is not installed")
    tools, driver = folder / "tools", folder / "driver"
    pip("install", "--target", str(tools), *TOOLS)
    (header,) = tools.glob("nvidia/*/include/cuda.h")
    driver.mkdir()
    library = str(driver / "libcuda.so.1")
    source = str(HERE / "emulation" / "libcuda.c")
    options = ("-x", "c", "-shared", "-fPIC", "-w", source, "-Wl,-soname,libcuda.so.1")
    command("g++", *options, "-o", library)
    (driver / "libcuda.so").symlink_to("libcuda.so.1")

    built = {"PYTHONPATH": str(tools)}  # without isolation it finds the tools there
    isolated = ("--no-deps", "--no-build-isolation", "--no-binary", "pycuda")
    pip("download", *isolated, "--dest", str(folder), PYCUDA, **built)
    (archive,) = folder.glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    unpacked = archive.with_name(archive.name.removesuffix(".tar.gz"))
    settings = SITECONF.format(headers=str(header.parent), driver=str(driver))
    (unpacked / "siteconf.py").write_text(settings)
    pip("install", "--no-deps", "--no-build-isolation", str(unpacked), **built)
    pip("install", *NEEDS)
    # Lazily, as the tests do: the emulated driver has not all that pycuda names.
    lazily = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY); import pycuda.driver"
    command(sys.executable, "-c", lazily, LD_LIBRARY_PATH=str(driver))


def main() -> int:
    """0 if it is there now."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            build(Path(folder))
        except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{PYCUDA} could not be built: {error}\n")
            return 1
    sys.stdout.write(f"{PYCUDA} was built\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
