"""The operators of torch compute what the references do, and are what torch takes them for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import CASES, COLOURS, Case
from torch._subclasses.fake_tensor import FakeTensorMode

from arnet.export.operators import ForgetEnhance
from arnet.kernels.catalogue import KERNELS
from arnet.kernels.errors import KernelError
from arnet.kernels.torch_operators import OPERATORS, forget_enhance_stack, needs_dtype, schema

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FIRST = [next(case for case in CASES if case.kernel == name) for name in KERNELS]


def arguments(case: Case, dtype: torch.dtype = torch.float32) -> tuple:
    """As the operator takes them."""
    spec = KERNELS[case.kernel]
    tensors = [
        torch.from_numpy(np.ascontiguousarray(array)).to(
            dtype if tensor.dtype == "variant" else getattr(torch, tensor.dtype)
        )
        for tensor, array in zip(spec.inputs, case.inputs, strict=True)
    ]
    # A negative number would be masked by none of the shapes.
    parameters = [case.parameters[name] for name in spec.parameters]
    return (*tensors, *parameters, *([dtype] if needs_dtype(spec) else []))


def by_name(cases: list[Case]):
    return pytest.mark.parametrize("case", cases, ids=lambda case: f"{case.kernel}-{case.label}")


@by_name(CASES)
def test_an_operator_computes_what_the_reference_does(case: Case) -> None:
    spec = KERNELS[case.kernel]
    found = getattr(torch.ops.arnet, case.kernel)(*arguments(case))
    expected = spec.reference(*case.inputs, **case.parameters)
    assert str(found.dtype) == f"torch.{spec.dtype(spec.outputs[0], 'float32')}"
    np.testing.assert_allclose(found.numpy(), expected.astype(found.numpy().dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@by_name(FIRST)
def test_torch_accepts_it(case: Case, dtype: torch.dtype) -> None:
    torch.library.opcheck(OPERATORS[case.kernel], arguments(case, dtype))


@by_name(CASES[::7])
def test_torch_accepts_it_for_other_shapes(case: Case) -> None:
    torch.library.opcheck(OPERATORS[case.kernel], arguments(case), test_utils="test_faketensor")


def test_golden_signature() -> None:
    assert schema(KERNELS["masked_pool"]) == "(Tensor features, Tensor masks, int area) -> Tensor"
    assert schema(KERNELS["preprocess"]) == (
        "(Tensor image, int size, float mean_red, float mean_green, float mean_blue, "
        "float deviation_red, float deviation_green, float deviation_blue, ScalarType dtype)"
        " -> Tensor"
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_result_has_the_number_format_of_the_features(dtype: torch.dtype) -> None:
    features = torch.randn(1, 4, 5, 6).to(dtype)
    masks = torch.rand(2, 1, 5, 6)
    found = torch.ops.arnet.masked_pool(features, masks, 1)
    expected = KERNELS["masked_pool"].reference(features.float().numpy(), masks.numpy(), area=1)
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.from_numpy(expected).to(dtype))
    image = torch.zeros(7, 8, 3, dtype=torch.uint8)
    pixels = torch.ops.arnet.preprocess(image, 9, *COLOURS.values(), dtype)
    assert pixels.dtype == dtype and pixels.shape == (1, 3, 9, 9)


def test_the_stack_is_the_exporters_operation() -> None:
    case = next(c for c in CASES if c.kernel == "forget_enhance" and c.label.startswith("5x64"))
    vectors, weights, biases = (torch.from_numpy(array) for array in case.inputs)
    expected = ForgetEnhance([1, 2, 4])(vectors, weights, biases)
    found = forget_enhance_stack(vectors, weights, biases, [1, 2, 4])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    other = forget_enhance_stack(vectors, weights, biases, [1, 2, 3])
    assert (other - expected).abs().max() > 1e-2


def test_it_is_compiled_for_any_shape_at_once() -> None:
    def pooled(features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return torch.ops.arnet.masked_pool(features, masks, 1) * 2

    compiled = torch.compile(pooled, backend="aot_eager", dynamic=True, fullgraph=True)
    for count, side in ((2, 5), (3, 6), (4, 9)):
        features, masks = torch.randn(1, 3, side, side), torch.rand(count, 1, side, side)
        torch.testing.assert_close(compiled(features, masks), pooled(features, masks))


def test_the_shape_is_known_on_a_gpu_that_is_not_there() -> None:
    with FakeTensorMode():
        margins = torch.empty(3, 4, 5, device="cuda")
        found = torch.ops.arnet.postprocess_labels(margins, 20, 30, 0.0)
    assert found.shape == (20, 30) and found.dtype == torch.uint8 and found.device.type == "cuda"


def test_what_does_not_fit_is_refused() -> None:
    features, masks = torch.randn(1, 3, 4, 4), torch.rand(2, 1, 4, 4)
    with pytest.raises(KernelError, match=r"masks as torch\.float16 and needs float32"):
        torch.ops.arnet.masked_pool(features, masks.half(), 1)
    with pytest.raises(KernelError, match=r"masked_pool needs features \(1, C, h, w\)"):
        torch.ops.arnet.masked_pool(features, masks[:, :, :3], 1)
    with pytest.raises(KernelError, match=r"features as torch\.float64"):
        torch.ops.arnet.masked_pool(features.double(), masks, 1)
    with FakeTensorMode(), pytest.raises(RuntimeError, match="shapes do not fit"):
        torch.ops.arnet.masked_pool(torch.empty(1, 3, 4, 4), torch.empty(2, 1, 3, 4), 1)
