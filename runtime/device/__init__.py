"""A GPU, driven by cuda.core or by pycuda; both are imported when a GPU is opened.

Both work in the GPU's primary context, which torch, ONNX Runtime and TensorRT use, too: memory and
streams of the one are good for the others. pycuda has no graphs; those are cuda.core's for both.
"""

from __future__ import annotations

import importlib
import os

from arnet.kernels.errors import KernelError
from arnet.runtime.device.driver import Driver, Event, Graph, Memory, Pinned, Stream
from arnet.runtime.device.graphs import cuda_core, graphs_are_on
from arnet.runtime.errors import EngineError

__all__ = [
    "DRIVERS",
    "LIBRARY",
    "Driver",
    "Event",
    "Graph",
    "Memory",
    "Pinned",
    "Stream",
    "open_driver",
]

DRIVERS = {
    "pycuda": ("arnet.runtime.device.with_pycuda", "PycudaDriver"),
    "cuda.core": ("arnet.runtime.device.with_cuda_core", "CudaCoreDriver"),
}
"""Module and class by the library's name, the preferred one first."""

LIBRARY = "ARNET_GPU_LIBRARY"
"""Environment variable that chooses one of ``DRIVERS``; else the first that works is taken."""


def open_driver(library: str | None = None, device: int = 0) -> Driver:
    """Open a GPU.

    Args:
        library: a key of ``DRIVERS``; None for what ``$ARNET_GPU_LIBRARY`` says, or else the first
            of them that works. One that is asked for is never replaced by another.
        device: number of the GPU.

    Raises:
        EngineError: if there is no such library, or it (none of them) finds no GPU, or graphs are
            on and nothing can make them.
    """
    asked = library or os.environ.get(LIBRARY)
    if asked and asked not in DRIVERS:
        raise EngineError(f"no GPU library is called '{asked}'", f"Known: {', '.join(DRIVERS)}.")
    refusals: list[EngineError | KernelError] = []
    for name in [asked] if asked else DRIVERS:
        module, kind = DRIVERS[name]
        try:
            driver: Driver = getattr(importlib.import_module(module), kind)(device)
            if graphs_are_on():
                cuda_core()  # now, not when the second photograph is to be captured
        except (EngineError, KernelError) as error:
            refusals.append(error)
        else:
            return driver
    raise EngineError(
        "no GPU can be used: " + "; ".join(error.message for error in refusals), refusals[-1].hint
    )
