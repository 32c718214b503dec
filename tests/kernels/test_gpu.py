"""The kernels on a real GPU. These tests have not run yet: no GPU was at hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import CASES, Case

from arnet.kernels.catalogue import kernel
from arnet.kernels.launch import CudaCoreLauncher

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel}-{case.label}")
def test_a_kernel_computes_what_its_reference_does(case: Case) -> None:
    from cuda.core import Device

    launcher, spec = CudaCoreLauncher(), kernel(case.kernel)
    inputs = [torch.from_numpy(np.ascontiguousarray(array)).cuda() for array in case.inputs]
    shapes = [array.shape for array in case.inputs]
    launch = launcher.prepare(spec, "float32", shapes, **case.parameters)
    shape, dtype = launch.plan.outputs[0]
    result = torch.from_numpy(np.zeros(shape, dtype)).cuda()
    torch.cuda.synchronize()  # the copies are on torch's stream
    stream = Device(0).create_stream()
    launch(stream, [tensor.data_ptr() for tensor in inputs], [result.data_ptr()])
    stream.sync()
    expected = spec.reference(*case.inputs, **case.parameters)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(result.cpu().numpy() / scale, expected / scale, rtol=0, atol=1e-5)
