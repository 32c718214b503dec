"""Fetches the real Python bindings of several versions of TensorRT, without TensorRT.

They are small and are imported over stub libraries (``stubs.c``): then every class, name, signature
and enum of a version is there, and all of ``tensorrt.plugin``, which is Python; nothing computes.
The folder is ``$ARNET_TENSORRT_BINDINGS``, or one in pytest's cache.

    python tests/tensorrt/fetch_bindings.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WHEELS = {
    "10.13": "tensorrt-cu12-bindings==10.13.3.9.post1",
    "10.16": "tensorrt-cu12-bindings==10.16.1.11",
    "11.2": "tensorrt-cu13-bindings==11.2.1.2",
    "11.4": "tensorrt-cu13-bindings==11.4.0.106",
}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


class UnavailableError(Exception):
    """The bindings cannot be had here; says why."""


@cache
def bindings(version: str) -> tuple[Path, Path]:
    """Folders of the unpacked wheel and of the stub libraries.

    Raises:
        UnavailableError: no network, no compiler, or no wheel for this Python.
    """
    given = os.environ.get("ARNET_TENSORRT_BINDINGS")
    folder = Path(given) if given else ROOT / ".pytest_cache" / "tensorrt"
    wheel = folder / f"{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not wheel.is_dir():
        _unpack(WHEELS[version], wheel)
    stubs = folder / f"stubs-{version.split('.')[0]}"
    if not stubs.is_dir():
        _compile(version.split(".")[0], stubs)
    return wheel, stubs


def run(version: str, script: str, given: str = "") -> str:
    """The last line that a script of this folder prints, over the bindings of a version.

    Args:
        version: a key of ``WHEELS``.
        script: its name.
        given: what it reads.

    Raises:
        UnavailableError: the bindings cannot be had here.
    """
    wheel, stubs = bindings(version)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(stubs),
        "PYTHONPATH": os.pathsep.join(map(str, (wheel, HERE, ROOT))),
    }
    command = [sys.executable, str(HERE / script)]
    finished = subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip().splitlines()[-1]  # after what TensorRT itself has to say


def _unpack(requirement: str, wheel: Path) -> None:
    temporary = wheel.with_name(f"{wheel.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--quiet", "--retries", "1", "--timeout", "20", "--dest", str(temporary)]
        finished = subprocess.run([*command, requirement], capture_output=True, text=True)
        found = list(temporary.glob("*.whl"))
        if finished.returncode or not found:
            last = finished.stderr.strip().splitlines()[-1:] or ["no wheel"]
            raise UnavailableError(f"{requirement} cannot be downloaded: {last[0]}")
        with zipfile.ZipFile(found[0]) as archive:
            archive.extractall(temporary)
        found[0].unlink()
        _publish(temporary, wheel)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _compile(major: str, stubs: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise UnavailableError("there is no C compiler for the stub libraries")
    temporary = stubs.with_name(f"{stubs.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    for library in LIBRARIES:
        name = f"lib{library}.so.{major}"
        command = [compiler, "-shared", "-fPIC", str(HERE / "stubs.c"), f"-Wl,-soname,{name}"]
        subprocess.run([*command, "-o", str(temporary / name)], check=True)
    _publish(temporary, stubs)


def _publish(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    for known in WHEELS:
        sys.stdout.write(f"TensorRT {known}: {bindings(known)[0]}\n")
