"""CUDA C++ to code for a GPU, by NVRTC: neither a toolkit nor a driver is needed.

The result is PTX (``compute_80``, which the driver translates for any newer GPU) or a cubin
(``sm_90``, for that one).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from arnet.kernels.errors import KernelError

FOLDER = Path(__file__).parent / "sources"
OPTIONS = ("--std=c++17", "--ptxas-options=-v")
_INSTALL = "pip install 'cuda-bindings>=13' 'nvidia-cuda-nvrtc>=13.0,<13.1' nvidia-cuda-runtime"
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)")


@dataclass(frozen=True)
class Resources:
    """What one entry takes of a multiprocessor.

    Attributes:
        registers: of each thread.
        shared: bytes of static shared memory of each block.
        spilled: bytes of each thread that did not fit into registers, read or written.
    """

    registers: int
    shared: int
    spilled: int


@dataclass(frozen=True)
class Compiled:
    """Code for a GPU.

    Attributes:
        code: PTX as text, or a cubin.
        log: what the compiler said; for a cubin with the resources of each entry.
    """

    code: bytes
    log: str

    def resources(self) -> dict[str, Resources]:
        """The resources of every entry; none for PTX, which has no registers yet."""
        found = {}
        for part in self.log.split("Compiling entry function '")[1:]:
            numbers = {
                name: sum(int(number) for number in re.findall(pattern, part))
                for name, pattern in (
                    ("registers", r"Used (\d+) registers"),
                    ("shared", r"(\d+) bytes smem"),
                    ("spilled", r"(\d+) bytes spill"),
                )
            }
            found[part.split("'")[0]] = Resources(**numbers)
        return found


def source_text(name: str) -> str:
    """A file of ``sources/``, by its full name.

    Raises:
        KernelError: if it is not there.
    """
    try:
        return (FOLDER / name).read_text(encoding="utf-8")
    except OSError as error:
        raise KernelError(
            f"{FOLDER / name} cannot be read: {error.strerror}.", "Install arnet again."
        ) from error


def fingerprint(source: str) -> str:
    """sha256 of all that a source is made of: it, the common header and the options."""
    parts = (source_text(f"{source}.cu"), source_text("common.cuh"), *OPTIONS)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def check_architecture(architecture: str) -> tuple[bool, int]:
    """Whether it is a cubin's, and its number: ``sm_90`` gives (True, 90).

    Raises:
        KernelError: if it is not of this form.
    """
    match = _ARCHITECTURE.fullmatch(architecture)
    if match is None:
        raise KernelError(
            f"{architecture!r} is no architecture.", "Give one such as sm_90 or compute_80."
        )
    return match[1] == "sm", int(match[2])


def compile_source(source: str, architecture: str) -> Compiled:
    """Compile a file of ``sources/``.

    Args:
        source: its name without the ending.
        architecture: ``sm_90`` for a cubin, ``compute_90`` for PTX.

    Raises:
        KernelError: if the compiler is not installed, does not know the architecture, or finds
            an error in the source.
    """
    return compile_text(source_text(f"{source}.cu"), f"{source}.cu", architecture)


def compile_text(text: str, name: str, architecture: str) -> Compiled:
    """Compile CUDA C++ that may include ``common.cuh``; see ``compile_source``."""
    cubin, number = check_architecture(architecture)
    nvrtc = _nvrtc()
    if number not in supported():
        known = ", ".join(str(known) for known in supported())
        raise KernelError(
            f"NVRTC {version()} compiles for {known}, not for {architecture}.",
            "Choose one of these, or PTX of an older architecture, which newer GPUs take, too.",
        )
    header = source_text("common.cuh").encode()
    program = _ok(
        nvrtc.nvrtcCreateProgram(text.encode(), name.encode(), 1, [header], [b"common.cuh"])
    )
    try:
        options = [f"--gpu-architecture={architecture}", f"-I{_headers()}", *OPTIONS]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
        log = _fetch(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        message = log.rstrip(b"\0").decode(errors="replace")
        if int(status):
            raise KernelError(f"{name} does not compile for {architecture}:\n{message}")
        if cubin:
            code = _fetch(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        else:
            code = _fetch(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program).rstrip(b"\0")
        return Compiled(code, message)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


@cache
def version() -> str:
    """The compiler's version, such as 13.0.

    Raises:
        KernelError: if the compiler is not installed.
    """
    _, major, minor = _nvrtc().nvrtcVersion()
    return f"{major}.{minor}"


@cache
def supported() -> tuple[int, ...]:
    """The architectures that the compiler knows, such as 90.

    Raises:
        KernelError: if the compiler is not installed.
    """
    nvrtc = _nvrtc()
    _ok(nvrtc.nvrtcGetNumSupportedArchs())
    return tuple(_ok(nvrtc.nvrtcGetSupportedArchs()))


def _nvrtc() -> Any:
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
        nvrtc.nvrtcVersion()  # loads the library, which is another package
    except Exception as error:  # ImportError, or one of the loader's own
        raise KernelError(f"NVRTC is not installed ({error}).", _INSTALL) from error
    return nvrtc


@cache
def _headers() -> str:
    found = import_module("cuda.pathfinder").find_nvidia_header_directory("cudart")
    if found is None or not (Path(found) / "cuda_fp16.h").is_file():
        raise KernelError("the CUDA headers (cuda_fp16.h) are not installed.", _INSTALL)
    return str(found)


def _ok(result: tuple[Any, ...]) -> Any:
    status, *values = result
    if int(status):
        raise KernelError(f"NVRTC answered {status.name}.")
    return values[0] if values else None


def _fetch(size: Any, get: Any, program: Any) -> bytes:
    buffer = bytes(_ok(size(program)))
    _ok(get(program, buffer))
    return buffer
