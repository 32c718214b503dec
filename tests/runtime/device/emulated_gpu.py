"""What a process needs to take this processor for a GPU; the emulation is that of tests/kernels."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"


def environment(folder: Path, library: str) -> dict[str, str]:
    """The environment of a process that uses the emulated GPU through a library.

    Args:
        folder: for what is compiled; what is there is not compiled again.
        library: "cuda.core" or "pycuda".
    """
    sys.path.append(str(KERNELS))
    from emulator import Emulator, compiler

    from arnet.kernels.binaries import PREBUILT
    from arnet.kernels.compile import FOLDER

    driver = folder / "libcuda.so.1"
    if not driver.exists():
        source = str(KERNELS / "emulation" / "libcuda.c")
        command = [str(compiler()), "-x", "c", "-shared", "-fPIC", "-w", source]
        command += ["-Wl,-soname,libcuda.so.1", "-o", str(driver)]
        subprocess.run(command, check=True)
        for kernel in ("preprocess", "postprocess"):
            Emulator(FOLDER / f"{kernel}.cu", folder)
    kernels = [str(folder / f"lib{kernel}.so") for kernel in ("preprocess", "postprocess")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(folder),
        "LD_BIND_NOW": "",  # pycuda names more functions than are emulated
        "ARNET_KERNELS": str(PREBUILT),
        "ARNET_EMULATED": ":".join(kernels),
        "ARNET_EMULATED_LATE": "1",
        "ARNET_GPU_LIBRARY": library,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


class Log:
    """What was called of the emulated driver, in this process."""

    def __init__(self) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._driver.arnet_log.restype = ctypes.c_char_p

    def clear(self) -> None:
        self._driver.arnet_log_clear()

    def lines(self) -> list[str]:
        """The calls since the last ``clear``, in order."""
        return self._driver.arnet_log().decode().splitlines()
