"""Every kernel, run on the processor, computes what its reference does."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Case
from emulator import bfloat16, from_bfloat16

from arnet.kernels.catalogue import KERNELS

# Relative to the largest value: one rounding of the result, and of the inputs' sums in float32.
TOLERANCE = {"float32": 2e-6, "float16": 6e-4, "bfloat16": 5e-3}


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """An input as the kernel gets it: bfloat16 still as float32."""
    return from_bfloat16(bfloat16(array)) if dtype == "bfloat16" else array.astype(dtype)


def difference(case: Case, found: np.ndarray, inputs: list[np.ndarray]) -> float:
    """Largest difference from the reference, relative to its largest value."""
    wide = [array if array.dtype == np.uint8 else array.astype(np.float32) for array in inputs]
    expected = KERNELS[case.kernel].reference(*wide, **case.parameters)
    assert found.shape == expected.shape
    if found.dtype == np.uint8:
        return float(np.abs(found.astype(int) - expected).max())
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found.astype(np.float64) - expected).max()) / scale


@pytest.mark.parametrize("variant", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel}-{case.label}")
def test_a_kernel_computes_what_its_reference_does(case: Case, variant: str, emulator) -> None:
    spec = KERNELS[case.kernel]
    inputs = [
        rounded(array, spec.dtype(tensor, variant))
        for array, tensor in zip(case.inputs, spec.inputs, strict=True)
    ]
    found = emulator(spec.source).run(spec, variant, inputs, case.parameters, seed=len(case.label))
    assert np.isfinite(found).all()
    assert difference(case, found, inputs) <= TOLERANCE[variant]


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_has_cases_that_a_wrong_result_would_fail(name: str) -> None:
    cases = [case for case in CASES if case.kernel == name]
    assert len(cases) > 4
    for case in cases:
        inputs = list(case.inputs)
        wrong = KERNELS[name].reference(*inputs, **case.parameters).copy()
        wrong.flat[-1] += 1 if wrong.dtype == np.uint8 else 0.02 * max(1, np.abs(wrong).max())
        assert difference(case, wrong, inputs) > max(TOLERANCE.values())


@pytest.mark.parametrize(
    "name",
    [
        "masked_pool", "masked_shift_sum", "masked_pool_nhwc", "masked_shift_sum_nhwc",
        "forget_enhance", "preprocess", "postprocess", "postprocess_mask", "postprocess_labels",
    ],
)  # fmt: skip
def test_addresses_that_allow_no_vectors_are_read_one_by_one(name: str, emulator) -> None:
    spec = KERNELS[name]
    cases = [case for case in CASES if case.kernel == name and case.inputs[0].size < 10**5]
    for case in cases:
        inputs = []
        for array in case.inputs:
            memory = np.zeros(array.size + 1, array.dtype)
            memory[1:] = array.ravel()
            inputs.append(memory[1:].reshape(array.shape))
            assert inputs[-1].ctypes.data % 8 == array.itemsize
        found = emulator(spec.source).run(spec, "float32", inputs, case.parameters)
        # Vectors in the thousands make gates of hundreds, whose last place is 3e-5: added up one by
        # one they end a little further off.
        large = name == "forget_enhance" and np.abs(case.inputs[0]).max() > 1000
        assert difference(case, found, inputs) <= (5e-6 if large else TOLERANCE["float32"])


@pytest.mark.parametrize(
    "name",
    [
        "masked_pool",
        "masked_pool_resized",
        "masked_pool_nhwc",
        "masked_shift_sum",
        "masked_shift_sum_nhwc",
        "forget_enhance",
    ],
)
def test_what_is_not_a_number_is_not_hidden(name: str, emulator) -> None:
    spec = KERNELS[name]
    case = next(case for case in CASES if case.kernel == name and case.label.startswith("3x"))
    inputs = [array.copy() for array in case.inputs]
    inputs[0].fill(np.nan)
    found = emulator(spec.source).run(spec, "float32", inputs, case.parameters)
    assert np.isnan(found).any()


def test_the_last_case_of_margins_is_wider_than_one_block() -> None:
    widths = [case.parameters["width"] for case in CASES if case.kernel == "postprocess"]
    assert max(widths) > 512
