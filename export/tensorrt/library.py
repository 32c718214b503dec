"""TensorRT and the GPU of this machine: found, or told what is missing.

One code path serves all versions that are supported: networks are always strongly typed, flags are
shifted by their value, which differs between versions, and no answer goes unchecked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from arnet.runtime.benchmark.gpu import describe_gpu
from arnet.runtime.device import open_driver
from arnet.runtime.engines.complaints import reason
from arnet.runtime.errors import BuildError, MissingDependencyError, install

REQUIREMENT = "tensorrt>=10.13,!=10.14.*,<12"
"""10.14 does not work with plugins from Python; 12 may be another thing."""

_FIRST, _BROKEN, _TOO_NEW = (10, 13), (10, 14), (12, 0)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Gpu:
    """The GPU that plans are built on, the first one that CUDA shows this process.

    Attributes:
        name: such as "NVIDIA H200".
        capability: its compute capability, such as (9, 0).
        driver: version of the driver; "unknown" without nvidia-smi.
        cuda: version of CUDA that the driver brings, such as "13.0".
    """

    name: str
    capability: tuple[int, int]
    driver: str
    cuda: str


@dataclass(frozen=True)
class Toolchain:
    """What builds plans.

    Attributes:
        trt: the package ``tensorrt``.
        gpu: what they are built on.
    """

    trt: Any
    gpu: Gpu

    @property
    def version(self) -> str:
        """Full version of TensorRT."""
        return str(self.trt.__version__)


def find(command: str) -> Toolchain:
    """TensorRT of a version that is supported, and a GPU with what the gate runs the plans by.

    Args:
        command: that was typed, to be repeated where there is what is missing.

    Raises:
        MissingDependencyError: naming all that is missing. Nothing is installed.
    """
    missing: list[str] = []
    trt = gpu = None
    try:
        trt = import_module("tensorrt")
    except Exception as error:  # ImportError, or the loader's about its libraries
        missing.append(f"TensorRT is not installed ({_short(error)})")
    if trt is not None and not supported(str(trt.__version__)):
        missing.append(f"TensorRT {trt.__version__} is installed; needed is {REQUIREMENT}")
    try:
        gpu = _gpu(import_module("cuda.bindings.driver"))
        open_driver()  # as the gate will, which comes when all is built
    except Exception as error:
        missing.append(f"there is no NVIDIA GPU that can be used ({_short(error)})")
    if missing or trt is None or gpu is None:
        raise MissingDependencyError(
            "plans are built on the GPU that runs them: here " + ", and ".join(missing),
            f"on a machine with that GPU, {install('export')} cuda-bindings cuda-core "
            f"'{REQUIREMENT}' && {command}",
        )
    return Toolchain(trt, gpu)


def supported(version: str) -> bool:
    """Whether a version of TensorRT is one that plans are built with."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    found = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    return _FIRST <= found < _TOO_NEW and found != _BROKEN


def need(answer: Answer | None, what: str, hint: str = "") -> Answer:
    """What TensorRT answered, unless that is None or False: it refuses without raising.

    The error has the reason, if TensorRT logged one.

    Raises:
        BuildError: it refused.
    """
    if answer is None or answer is False:
        raise BuildError(
            f"TensorRT refused {what}{reason()}",
            hint or "Try another version of TensorRT, or --plugins off.",
        )
    return answer


def bit(flag: Any) -> int:
    """A flag as one bit; its position is not the same in all versions."""
    return 1 << int(flag)


def _gpu(driver: Any) -> Gpu:
    """Straight after the CUDA driver API; every function returns its status first."""

    def ask(function: Any, *arguments: Any) -> Any:
        status, *values = function(*arguments)
        if int(status):
            raise BuildError(f"CUDA answered {status.name}")
        return values[0] if values else None

    ask(driver.cuInit, 0)
    device = ask(driver.cuDeviceGet, 0)
    attributes = driver.CUdevice_attribute
    capability = (
        ask(
            driver.cuDeviceGetAttribute,
            attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            device,
        ),
        ask(
            driver.cuDeviceGetAttribute,
            attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            device,
        ),
    )
    name = ask(driver.cuDeviceGetName, 128, device).split(b"\0")[0].decode()
    version = int(ask(driver.cuDriverGetVersion))
    described = describe_gpu() or {}
    cuda = f"{version // 1000}.{version % 1000 // 10}"
    return Gpu(name, capability, described.get("driver", "unknown"), cuda)


def _short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
