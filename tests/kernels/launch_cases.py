"""Launches every case of a kernel; test_launch.py runs it on an emulated GPU.

python launch_cases.py cuda.core|pycuda KERNEL
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from cases import CASES

from arnet.kernels.catalogue import kernel
from arnet.kernels.launch import CudaCoreLauncher, PycudaLauncher


def started(library: str) -> tuple[CudaCoreLauncher | PycudaLauncher, Any]:
    """A launcher and a stream."""
    if library == "cuda.core":
        from cuda.core import Device

        core = CudaCoreLauncher()
        return core, Device(0).create_stream()
    sys.setdlopenflags(os.RTLD_LAZY)  # the emulated driver has not all that pycuda names
    import pycuda.autoprimaryctx
    import pycuda.driver

    return PycudaLauncher(), pycuda.driver.Stream()


def main(library: str, name: str) -> None:
    launcher, stream = started(library)
    spec = kernel(name)
    for case in [case for case in CASES if case.kernel == name]:
        shapes = [array.shape for array in case.inputs]
        launch = launcher.prepare(spec, "float32", shapes, **case.parameters)
        shape, dtype = launch.plan.outputs[0]
        result = np.zeros(shape, dtype)
        launch(stream, [array.ctypes.data for array in case.inputs], [result.ctypes.data])
        expected = spec.reference(*case.inputs, **case.parameters)
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(result / scale, expected / scale, rtol=0, atol=2e-6)
        sys.stdout.write(f"{case.label}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
