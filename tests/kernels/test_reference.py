"""The NumPy references are what the exporter defines in torch, and what torch itself computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import CASES, COLOURS, Case

from arnet.export.operators import ForgetEnhance, MaskedPool, MaskedShiftSum
from arnet.export.resampling import Preprocess, averaging
from arnet.export.terms import Places
from arnet.kernels import reference
from arnet.kernels.catalogue import KERNELS
from arnet.modeling.layers import AREA_EPSILON, Pooling, masked_pool, resize_mask
from arnet.runtime.preprocessing import MEAN, STD


def cases(name: str) -> list[Case]:
    return [case for case in CASES if case.kernel == name]


def tensors(case: Case) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in case.inputs]


def assert_same(case: Case, expected: torch.Tensor, **parameters: float) -> None:
    found = KERNELS[case.kernel].reference(*case.inputs, **{**case.parameters, **parameters})
    scale = max(1.0, float(expected.abs().max()))
    np.testing.assert_allclose(found / scale, expected.numpy() / scale, rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", cases("masked_pool"), ids=lambda case: case.label)
def test_masked_pool_is_the_operator(case: Case) -> None:
    operator = MaskedPool("area" if case.parameters["area"] else "map")
    assert_same(case, operator(*tensors(case)))
    assert reference.AREA_EPSILON == AREA_EPSILON


@pytest.mark.parametrize("case", cases("masked_pool_resized"), ids=lambda case: case.label)
def test_masked_pool_resized_averages_the_masks_as_the_graphs_do(case: Case) -> None:
    features, masks = tensors(case)
    rows, columns = (
        averaging(torch.tensor(old), torch.arange(old), new).float()
        for old, new in zip(masks.shape[2:], features.shape[2:], strict=True)
    )
    operator = MaskedPool("area" if case.parameters["area"] else "map")
    assert_same(case, operator(features, rows @ masks @ columns.T))


@pytest.mark.parametrize("pooling", ["area", "map"])
def test_masked_pool_resized_is_what_the_model_does(pooling: Pooling) -> None:
    case = next(case for case in cases("masked_pool_resized") if "10x66-of21x80" in case.label)
    features, masks = tensors(case)
    small = resize_mask(masks[:, 0], (features.shape[2], features.shape[3]))
    expected = masked_pool(features.expand(len(masks), -1, -1, -1), small, pooling)
    assert_same(case, expected, area=int(pooling == "area"))


@pytest.mark.parametrize("case", cases("masked_shift_sum"), ids=lambda case: case.label)
def test_masked_shift_sum_is_the_operator(case: Case) -> None:
    taps, masks, own, border = tensors(case)
    operator = MaskedShiftSum(Places((own.shape[2], own.shape[3])))
    assert_same(case, operator(taps, masks, own, border))


@pytest.mark.parametrize("case", cases("forget_enhance"), ids=lambda case: case.label)
def test_forget_enhance_is_one_step_of_the_operator(case: Case) -> None:
    vectors, weights, biases = tensors(case)
    block, dilation = int(case.parameters["block"]), int(case.parameters["dilation"])
    operator = ForgetEnhance([dilation])
    one = slice(block, block + 1)
    assert_same(case, operator(vectors, weights[one], biases[one]))


def test_the_blocks_one_after_the_other_are_the_operator() -> None:
    case = next(case for case in cases("forget_enhance") if case.label.startswith("5x64"))
    x, weights, biases = case.inputs
    for block, dilation in enumerate((1, 2, 4)):
        x = reference.forget_enhance(x, weights, biases, block=block, dilation=dilation)
    expected = ForgetEnhance([1, 2, 4])(*tensors(case))
    np.testing.assert_allclose(x, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", cases("preprocess"), ids=lambda case: case.label)
def test_preprocess_is_the_stage(case: Case) -> None:
    (image,) = tensors(case)
    assert_same(case, Preprocess(int(case.parameters["size"]))(image))
    assert tuple(COLOURS.values()) == (*MEAN, *STD)


@pytest.mark.parametrize("case", cases("postprocess"), ids=lambda case: case.label)
def test_postprocess_is_the_sigmoid_of_torchs_interpolation(case: Case) -> None:
    (margins,) = tensors(case)
    size = (int(case.parameters["height"]), int(case.parameters["width"]))
    large = F.interpolate(margins[None].double(), size, mode="bilinear", align_corners=False)
    assert_same(case, large[0].sigmoid())


def test_labels_are_one_more_than_the_surest_class_or_none() -> None:
    margins = np.array([[[0.5, 2.0, -1.0]], [[0.5, 3.0, -2.0]]], np.float32)
    found = reference.postprocess_labels(margins, height=1, width=3, threshold=0.0)
    np.testing.assert_array_equal(found, [[1, 2, 0]])


def test_a_wrong_definition_would_be_noticed() -> None:
    case = cases("masked_pool")[5]
    other = MaskedPool("map" if case.parameters["area"] else "area")
    with pytest.raises(AssertionError):
        assert_same(case, other(*tensors(case)))
