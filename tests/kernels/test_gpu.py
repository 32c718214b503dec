"""The kernels on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import CASES, Case

from arnet.kernels.catalogue import kernel
from arnet.kernels.launch import CudaCoreLauncher
from arnet.kernels.torch_operators import needs_dtype

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


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel}-{case.label}")
def test_an_operator_of_torch_does_the_same_on_any_stream_and_in_a_graph(case: Case) -> None:
    spec = kernel(case.kernel)
    tensors = [torch.from_numpy(np.ascontiguousarray(array)).cuda() for array in case.inputs]
    rest = [case.parameters[name] for name in spec.parameters]
    rest += [torch.float32] if needs_dtype(spec) else []
    operator = getattr(torch.ops.arnet, case.kernel)
    expected = spec.reference(*case.inputs, **case.parameters)
    scale = max(1.0, float(np.abs(expected).max()))

    def assert_same(found: torch.Tensor) -> None:
        assert found.is_cuda
        np.testing.assert_allclose(found.cpu().numpy() / scale, expected / scale, rtol=0, atol=1e-5)

    assert_same(operator(*tensors, *rest))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = operator(*tensors, *rest)
    stream.synchronize()
    assert_same(found)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = operator(*tensors, *rest)
    captured.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert_same(captured)
