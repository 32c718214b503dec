"""The machine: GPU, driver and versions."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import torch

from arnet.runtime.benchmark.environment import describe_environment
from benchmarks.recorder import Recorder, main
from benchmarks.timing import device_of

PACKAGES = ("torch", "triton", "cuda-core", "cuda-bindings", "nvidia-cuda-nvrtc", "tensorrt")


def versions() -> dict[str, str]:
    """Versions of what computes, as far as it is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpu() -> dict[str, Any]:
    """What torch tells of the GPU."""
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory_bytes": found.total_memory,
        "l2_bytes": getattr(found, "L2_cache_size", None),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def compiler() -> str:
    """NVRTC's version, or why there is none: the shipped PTX is used then."""
    from arnet.kernels.compile import version
    from arnet.kernels.errors import KernelError

    try:
        return version()
    except KernelError as error:
        return f"none ({error.message})"


def work(recorder: Recorder) -> None:
    """The facts of the step."""
    recorder.fact("machine", describe_environment())
    recorder.fact("versions", versions())
    recorder.fact("nvrtc", compiler())
    if device_of(recorder.dry_run).type == "cuda":
        recorder.fact("device", gpu())


if __name__ == "__main__":
    main(work)
