"""Every kernel on the GPU against its reference in float64: the tests' odd cases and a query's."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from arnet.kernels.catalogue import KERNELS
from benchmarks import inputs
from benchmarks.cases import odd_cases
from benchmarks.inputs import DTYPES, Call
from benchmarks.recorder import Recorder, main
from benchmarks.timing import device_of


def difference(call: Call, device: torch.device) -> float:
    """How far a kernel is from its reference.

    Returns:
        The largest difference, relative to the largest value; of masks the share of pixels that
        differ. What is no number is infinitely far.
    """
    spec = KERNELS[call.name]
    expected = spec.reference(
        *((t.float() if t.is_floating_point() else t).numpy() for t in call.tensors),
        **call.parameters,
    )
    found = call.to(device)().cpu()
    if found.shape != expected.shape:
        raise ValueError(f"{call.name} gives {tuple(found.shape)}, not {expected.shape}")
    if found.dtype == torch.uint8:
        return float((found.numpy() != expected).mean())
    values = found.double().numpy()
    if not np.isfinite(values).all():
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(values - expected).max()) / scale


def compare(recorder: Recorder, name: str, variant: str, device: torch.device) -> None:
    """A row: the farthest of all cases."""
    dtype = DTYPES[variant]
    cases = [(case.label, inputs.of_case(case, dtype)) for case in odd_cases()
             if case.kernel == name]  # fmt: skip
    cases += [("of a query", call) for call in inputs.of_a_query(dtype, recorder.dry_run)
              if call.name == name]  # fmt: skip
    if device.type == "cuda":  # what was there before must not look like a result
        torch.empty(2**24, device=device).fill_(float("nan"))
    found = [(difference(call, device), label) for label, call in cases]
    farthest, label = max(found)
    detail = f"{len(found)} cases, farthest: {label}"
    recorder.row(f"reference/{name}/{variant}", min(farthest, 1e30), detail=detail)


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    torch.manual_seed(0)
    device = device_of(recorder.dry_run)
    for variant in DTYPES:
        for name in KERNELS:
            row = f"reference/{name}/{variant}"
            recorder.attempt(row, partial(compare, recorder, name, variant, device))


if __name__ == "__main__":
    main(work)
