"""Runs the kernels' sources on the processor; see ``emulation/cuda_emulation.hpp``."""

from __future__ import annotations

import ctypes
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.compile import FOLDER
from arnet.kernels.spec import KernelSpec, Plan

Array = NDArray[Any]
HERE = Path(__file__).parent / "emulation"
FAULTS = HERE / "faults.cu"
# Several of the libraries are loaded at a time; what is inline in them must not become one.
# Fortified, longjmp takes the emulated threads' stacks for a mistake.
OPTIONS = ["-std=c++20", "-O1", "-g", "-w", "-fno-gnu-unique", "-U_FORTIFY_SOURCE"]
OPTIONS += [f"-I{HERE}", f"-I{FOLDER}"]


def compiler() -> str | None:
    return shutil.which("g++")


def entries_of(source: Path) -> list[str]:
    """Names of the entries, those made by the macro ENTRY among them."""
    command = [str(compiler()), *OPTIONS, "-include", "cuda_emulation.hpp", "-E", "-P", "-x", "c++"]
    text = subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)
    return re.findall(r'extern "C" void\s+(\w+)\(', text.stdout)


def wrapped(source: Path, folder: Path) -> Path:
    """A C++ file with the source and a function to call for each entry."""
    lines = ['#include "cuda_emulation.hpp"', f'#include "{source}"']
    lines += [f"EMULATE({entry})" for entry in entries_of(source)]
    path = folder / f"{source.stem}.cpp"
    path.write_text("\n".join(lines) + "\n")
    return path


class Emulator:
    """One source, compiled for the processor."""

    def __init__(self, source: Path, folder: Path) -> None:
        library = folder / f"lib{source.stem}.so"
        command = [str(compiler()), *OPTIONS, "-shared", "-fPIC"]
        subprocess.run([*command, str(wrapped(source, folder)), "-o", str(library)], check=True)
        self.library = ctypes.CDLL(str(library))

    def launch(
        self,
        entry: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Array | int],
        seed: int = 0,
    ) -> str | None:
        """Run a kernel; arrays are changed in place. What the emulation found wrong."""
        values = [
            ctypes.c_void_p(argument.ctypes.data)
            if isinstance(argument, np.ndarray)
            else ctypes.c_int32(argument)
            for argument in arguments
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        function = getattr(self.library, f"emulate_{entry}")
        function.restype = ctypes.c_char_p
        numbers = ctypes.c_uint * 3
        error = function(numbers(*grid), numbers(*block), pointers, ctypes.c_uint(seed))
        return error.decode() if error else None

    def run(
        self,
        spec: KernelSpec,
        variant: str,
        inputs: Sequence[Array],
        parameters: dict[str, float],
        seed: int = 0,
    ) -> Array:
        """The first output of a kernel, by its spec. A guard behind it must stay as it was."""
        plan = spec.plan(variant, [array.shape for array in inputs], **parameters)
        result, guard = guarded(plan)
        dtypes = [spec.dtype(tensor, variant) for tensor in spec.inputs]
        given = [
            fenced(bfloat16(array) if dtype == "bfloat16" else array)
            for array, dtype in zip(inputs, dtypes, strict=True)
        ]
        arguments = [*given, *plan.extras, result]
        assert self.launch(plan.entry, plan.grid, plan.block, arguments, seed) is None
        assert (guard == 0xCD).all(), "the kernel wrote behind its output"
        return from_bfloat16(result) if plan.outputs[0][1] == "bfloat16" else result


def guarded(plan: Plan) -> tuple[Array, Array]:
    """Memory for the first output, full of nonsense, and the bytes behind it."""
    shape, dtype = plan.outputs[0]
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    size = int(np.prod(shape)) * stored.itemsize
    memory = np.full(size + 64, 0xCD, np.uint8)
    return memory[:size].view(stored).reshape(shape), memory[size:]


def fenced(array: Array) -> Array:
    """The same, at an address with the same alignment, between bytes that are NaN as floats."""
    fence = 64
    memory = np.full(array.nbytes + 3 * fence, 0xFF, np.uint8)
    start = fence + (array.ctypes.data - memory.ctypes.data) % fence
    inside = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    inside[...] = array
    return inside


def bfloat16(values: Array) -> Array:
    """The upper halves of float32, as uint16; rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


class Sanitized:
    """One entry as a program under ThreadSanitizer."""

    def __init__(self, source: Path, entry: str, folder: Path) -> None:
        self.program = folder / f"{entry}-tsan"
        self.file = folder / f"{entry}.launch"
        main = folder / f"{entry}-main.cpp"
        main.write_text(
            f'#include "{wrapped(source, folder)}"\n#define KERNEL emulate_{entry}\n'
            f'#include "{HERE / "main.cpp"}"\n'
        )
        command = [str(compiler()), *OPTIONS, "-fsanitize=thread", str(main)]
        subprocess.run([*command, "-o", str(self.program)], check=True)

    def run(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Array | int]
    ) -> subprocess.CompletedProcess[str]:
        """Run the kernel; the return code is not 0 if something is wrong."""
        content = struct.pack("8I", *grid, *block, 1, len(arguments))
        for argument in arguments:
            if isinstance(argument, int):
                content += struct.pack("Ii", 4, argument)
            else:
                data = np.ascontiguousarray(argument).tobytes().ljust(8, b"\0")
                content += struct.pack("I", len(data)) + data
        self.file.write_bytes(content)
        # Without randomised addresses: some kernels' layouts are none that the sanitizer knows.
        command = ["setarch", "-R", str(self.program), str(self.file)]
        return subprocess.run(command, capture_output=True, text=True)
