"""Launches a kernel with the tests' cases and checks the results: the program under the sanitizer.

python -m benchmarks.launch_once KERNEL
python -m benchmarks.launch_once --planted beyond|racing|unset

Without torch, which takes memory in large pieces: here every array is an allocation of its own, so
that a step beyond its end is noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.catalogue import kernel
from arnet.kernels.compile import compile_text
from arnet.kernels.launch import CudaCoreLauncher

TOLERANCE = {"float32": 1e-5, "float16": 1e-3}
PLANTED = """
extern "C" __global__ void beyond(float* values) { values[threadIdx.x + 1] = 1.0f; }
extern "C" __global__ void racing(float* values) {
  __shared__ float shared[64];
  shared[threadIdx.x] = threadIdx.x;
  values[threadIdx.x] = shared[63 - threadIdx.x];
}
extern "C" __global__ void unset(float* values) {
  if (values[threadIdx.x] > 1.0f) values[0] = 0.0f;
}
"""


class Memory:
    """Arrays on the GPU, by the driver itself, in the order of one stream."""

    def __init__(self, stream: Any) -> None:
        self.driver: Any = import_module("cuda.bindings.driver")
        self.stream = stream
        self.addresses: list[Any] = []

    def take(self, size: int) -> int:
        """The address of fresh memory."""
        address = self.ok(self.driver.cuMemAlloc(size))
        self.addresses.append(address)
        return int(address)

    def bring(self, array: NDArray[Any]) -> int:
        """The address of a copy."""
        array = np.ascontiguousarray(array)
        address = self.take(array.nbytes)
        source, stream = array.ctypes.data, self.stream.handle
        self.ok(self.driver.cuMemcpyHtoDAsync(address, source, array.nbytes, stream))
        self.stream.sync()  # before the array goes
        return address

    def fetch(self, address: int, shape: Sequence[int], dtype: str) -> NDArray[Any]:
        """What is at an address."""
        array = np.empty(shape, dtype)
        target, stream = array.ctypes.data, self.stream.handle
        self.ok(self.driver.cuMemcpyDtoHAsync(target, address, array.nbytes, stream))
        self.stream.sync()
        return array

    def give_back(self) -> None:
        """Free all of it."""
        for address in self.addresses:
            self.ok(self.driver.cuMemFree(address))
        self.addresses.clear()

    @staticmethod
    def ok(result: tuple[Any, ...]) -> Any:
        """The value of a driver's call.

        Raises:
            RuntimeError: it failed.
        """
        status, *values = result
        if int(status):
            raise RuntimeError(f"the driver answered {status}")
        return values[0] if values else None


def launch(name: str) -> None:
    """Every case in two number formats."""
    from cuda.core import Device

    from benchmarks.cases import odd_cases

    launcher, spec = CudaCoreLauncher(), kernel(name)
    stream = Device(0).create_stream()
    memory = Memory(stream)
    for case in [case for case in odd_cases() if case.kernel == name]:
        for variant, tolerance in TOLERANCE.items():
            arrays = [
                array.astype(spec.dtype(tensor, variant))
                for tensor, array in zip(spec.inputs, case.inputs, strict=True)
            ]
            prepared = launcher.prepare(spec, variant, [a.shape for a in arrays], **case.parameters)
            shape, dtype = prepared.plan.outputs[0]
            result = memory.take(int(np.prod(shape)) * np.dtype(dtype).itemsize)
            prepared(stream, [memory.bring(array) for array in arrays], [result])
            found = memory.fetch(result, shape, dtype).astype(np.float64)
            wide = [a if a.dtype == np.uint8 else a.astype(np.float32) for a in arrays]
            expected = spec.reference(*wide, **case.parameters)
            memory.give_back()
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerance)
    sys.stdout.write(f"{name}: all cases\n")


def planted(name: str) -> None:
    """A kernel with a fault, which the sanitizer must find."""
    from cuda.core import Device, LaunchConfig, ObjectCode
    from cuda.core import launch as launch_kernel

    major, minor = CudaCoreLauncher().capability
    code = compile_text(PLANTED, "planted.cu", f"sm_{major}{minor}").code
    stream = Device(0).create_stream()
    address = Memory(stream).take(256)
    config = LaunchConfig(grid=1, block=64)
    launch_kernel(stream, config, ObjectCode.from_cubin(code).get_kernel(name), address)
    stream.sync()


if __name__ == "__main__":
    if sys.argv[1] == "--planted":
        planted(sys.argv[2])
    else:
        launch(sys.argv[1])
