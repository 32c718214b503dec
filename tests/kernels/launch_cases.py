"""Launches every case of a kernel; test_launch.py runs it on an emulated GPU.

python launch_cases.py cuda.core|pycuda|torch KERNEL
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from cases import CASES, Case

from arnet.kernels.catalogue import kernel
from arnet.kernels.launch import CudaCoreLauncher, PycudaLauncher


def started(library: str) -> tuple[CudaCoreLauncher | PycudaLauncher, Any]:
    """A launcher and a stream."""
    if library in ("cuda.core", "torch"):
        from cuda.core import Device

        core = CudaCoreLauncher()
        return core, Device(0).create_stream()
    sys.setdlopenflags(os.RTLD_LAZY)  # the emulated driver has not all that pycuda names
    import pycuda.autoprimaryctx
    import pycuda.driver

    return PycudaLauncher(), pycuda.driver.Stream()


def launched(launcher: CudaCoreLauncher | PycudaLauncher, stream: Any, case: Case) -> Any:
    """The result of a launcher."""
    shapes = [array.shape for array in case.inputs]
    launch = launcher.prepare(kernel(case.kernel), "float32", shapes, **case.parameters)
    shape, dtype = launch.plan.outputs[0]
    result = np.zeros(shape, dtype)
    launch(stream, [array.ctypes.data for array in case.inputs], [result.ctypes.data])
    return result


def by_torch(gpu: Any, stream: Any, case: Case) -> Any:
    """The result of what torch's operator calls on a GPU, as an array."""
    import torch

    from arnet.kernels.torch_operators import Call, needs_dtype

    spec = kernel(case.kernel)
    tensors = [torch.from_numpy(array) for array in case.inputs]
    # Not contiguous: it has to be copied for the kernel.
    tensors[0] = tensors[0].transpose(0, -1).contiguous().transpose(0, -1)
    parameters = [case.parameters[name] for name in spec.parameters]
    dtype = [torch.float32] if needs_dtype(spec) else []
    call = Call.of(spec, [*tensors, *parameters, *dtype])
    first, again = gpu(call, stream), gpu(call, stream)
    assert torch.equal(first, again)
    return again.numpy()


def main(library: str, name: str) -> None:
    launcher, stream = started(library)
    spec = kernel(name)
    gpu = None
    if isinstance(launcher, CudaCoreLauncher) and library == "torch":
        from arnet.kernels.torch_operators import Gpu

        gpu = Gpu(launcher, most=2)  # so that some launches are prepared again
    for case in [case for case in CASES if case.kernel == name]:
        result = (launched if gpu is None else by_torch)(gpu or launcher, stream, case)
        expected = spec.reference(*case.inputs, **case.parameters)
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(result / scale, expected / scale, rtol=0, atol=2e-6)
        sys.stdout.write(f"{case.label}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
