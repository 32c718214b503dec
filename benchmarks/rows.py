"""The rows of docs/gpu-results.md: every speed target and every check, run or not yet."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

KERNELS = (
    "masked_pool",
    "masked_pool_resized",
    "masked_shift_sum",
    "masked_pool_nhwc",
    "masked_shift_sum_nhwc",
    "forget_enhance",
    "preprocess",
    "postprocess",
    "postprocess_mask",
    "postprocess_labels",
)
VARIANTS = ("float32", "float16", "bfloat16")
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
PLANS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
BOUND = ("masked_pool", "masked_shift_sum", "masked_pool_nhwc", "masked_shift_sum_nhwc")
"""Kernels whose speed has a bound: over planes, for TensorRT, and over channels last, for torch."""
LEFT_OUT = ("masked_pool", "masked_shift_sum", "preprocess", "postprocess", "fused_layers")
"""What a query can do without; forget_enhance works when supports are learned.

``fused_layers`` is what ``export/fused.py`` does.
"""
COMPARED = ("masked_pool", "masked_shift_sum", "preprocess", "postprocess", "forget_enhance")
"""Kernels that are compared with the framework's own operations, alone."""

GPU_TESTS = {
    "kernels": ("tests/kernels/test_gpu.py", "kernels by cuda.core and by torch's operators"),
    "torch": ("tests/modeling/test_gpu.py", "the model in torch"),
    "torch-kernels": ("tests/export/test_gpu.py", "the stages in torch with our kernels"),
    "onnx-cuda": ("tests/runtime/engines/test_onnx_gpu.py", "a bundle by the engine `onnx-cuda`"),
    "drivers": ("tests/runtime/device/test_gpu.py", "the runtime's drivers: cuda.core, pycuda"),
    "plans": (
        "tests/export/tensorrt/test_gpu.py",
        "plans of fp32 and fp16 with plugins and without, and their gate",
    ),
}
"""The tests marked ``gpu``: their file, and what they test."""

TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
"""Largest difference of a kernel from its reference, relative to the largest value."""

CHANGED = 1e-3
"""Share of a mask's pixels that may differ: where the margin is the threshold but for rounding."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        group: heading of the table.
        what: what is measured or checked.
        step: which of ``drive.STEPS`` finds it.
        unit: of the value.
        target: comparison with a bound; None for what is only told.
    """

    group: str
    what: str
    step: str
    unit: str = ""
    target: tuple[str, float] | None = None


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
}


def verdict(row: Row, value: float | None) -> bool | None:
    """Whether a value reaches its target; None where there is no target or no value."""
    if row.target is None or value is None:
        return None
    comparison, bound = row.target
    return _COMPARISONS[comparison](value, bound)


def _rows() -> dict[str, Row]:
    query = "Query: ResNet-50, 473 px, batch 1, 5 shots, state cached"
    rows = {
        "query/device": Row(query, "device time, fp16", "query", "ms", ("<=", 1.0)),
        "query/host": Row(query, "host to host, fp16", "query", "ms", ("<=", 1.5)),
        "query/eager": Row(
            query, "faster than torch eager fp32 as drawn, supports included, host to host",
            "query", "x", (">=", 10.0),
        ),
        "query/compile": Row(
            query, "faster than torch.compile fp16 as drawn, support features cached, host to host",
            "compiled", "x", (">=", 3.0),
        ),
        "query/eager-tf32": Row(
            query, "faster than the same with TF32 convolutions, as torch comes", "query", "x"
        ),
        "query/eager-cached": Row(
            query, "faster than torch eager fp16 as drawn, support features cached", "query", "x"
        ),
        "query/compile-graph": Row(
            query, "faster than torch.compile fp16 as before, in a CUDA graph", "compiled", "x"
        ),
        "query/compiled-device": Row(
            query, "device time, fp16, stages by torch.compile", "compiled", "ms", ("<=", 1.0)
        ),
        "query/compiled-host": Row(
            query, "host to host, fp16, stages by torch.compile", "compiled", "ms", ("<=", 1.5)
        ),
        "query/enqueue": Row(query, "host until all is enqueued", "query", "ms"),
    }  # fmt: skip
    for stage in ("preprocess", "encode_image", "encode_query", "decode", "postprocess"):
        rows[f"stage/{stage}"] = Row(query, f"device time of `{stage}`", "query", "ms")
    group = "Kernels against their floor"
    rows["kernel/copy"] = Row(group, "copy bandwidth, read and written", "floors", "GB/s")
    rows["kernel/launch"] = Row(group, "the least kernel in a CUDA graph", "floors", "µs")
    for name in BOUND:
        for shots in (1, 5):
            what = f"`{name}` fp16, larger than the L2, k = {shots}, of the copy bandwidth"
            rows[f"large/{name}/{shots}"] = Row(group, what, "floors", "%", (">=", 60.0))
        for shots in (1, 5):
            what = f"`{name}` fp16, batch 1, k = {shots}, over (launch + 2 floors)"
            rows[f"small/{name}/{shots}"] = Row(group, what, "floors", "x", ("<=", 1.0))
    what = "`forget_enhance` fp16, the stack for k = 5"
    rows["small/forget_enhance/5"] = Row(group, what, "floors", "µs", ("<", 20.0))
    for name in ("preprocess", "postprocess", "postprocess_labels"):
        rows[f"large/{name}/1"] = Row(
            group, f"`{name}` of 1080p, of the copy bandwidth", "floors", "%"
        )
    group = "Kernels against the framework's own operations"
    for name in COMPARED:
        rows[f"framework/{name}"] = Row(group, f"`{name}`, faster by", "floors", "x")
    what = "`masked_pool_resized`, one mask, than two products and `masked_pool`, faster by"
    rows["framework/masked_pool_resized"] = Row(group, what, "floors", "x")
    for name in LEFT_OUT:
        rows[f"without/{name}"] = Row(group, f"a query without `{name}`", "ablation", "ms")
    rows["without/kernels"] = Row(group, "a query without any of our kernels", "ablation", "ms")
    rows["without/graphs"] = Row(
        group, "a query without CUDA graphs, host to host", "ablation", "ms"
    )
    group = "Kernels against their references"
    for name in KERNELS:
        for variant in VARIANTS:
            masks = name in ("postprocess_mask", "postprocess_labels")
            bound = CHANGED if masks else TOLERANCE[variant]
            unit = "of pixels" if masks else ""
            rows[f"reference/{name}/{variant}"] = Row(
                group, f"`{name}` {variant}, largest difference", "references", unit, ("<=", bound)
            )
    group = (
        "Parity on the GPU: torch with our kernels against the checkpoint, photographs of examples/"
    )
    rows["parity/fp32/probability"] = Row(
        group, "fp32, largest difference of a probability", "parity", "", ("<=", 1e-4)
    )
    rows["parity/fp32/changed"] = Row(group, "fp32, changed pixels", "parity", "%", ("<=", 0.01))
    rows["parity/fp16/changed"] = Row(group, "fp16, changed pixels", "parity", "%", ("<=", 0.5))
    rows["parity/fp16/mean_iou"] = Row(
        group, "fp16, change of mIoU either way", "parity", "points", ("<=", 0.1)
    )
    group = "Tests marked `gpu`: how many passed"
    for name, (_, what) in GPU_TESTS.items():
        step = "plan-tests" if name == "plans" else "tests"
        rows[f"tests/{name}"] = Row(group, what, step)
    group = "Inside the loop, a query"
    rows["loop/allocations"] = Row(
        group, "allocations by torch's allocator", "loop", "", ("<=", 0.0)
    )
    rows["loop/driver"] = Row(group, "allocations and frees at the driver", "loop", "", ("<=", 0.0))
    rows["loop/synchronisations"] = Row(
        group, "synchronisations but the one that waits for the answer", "loop", "", ("<=", 0.0)
    )
    rows["loop/memory"] = Row(group, "memory taken meanwhile", "loop", "MiB", ("<=", 0.0))
    group = "compute-sanitizer"
    rows["sanitizer/control"] = Row(group, "finds what was planted (a control)", "sanitizer")
    for name in KERNELS:
        for tool in TOOLS:
            rows[f"sanitizer/{name}/{tool}"] = Row(group, f"`{name}`, {tool}", "sanitizer")
    group = "TensorRT"
    for precision in PLANS:
        rows[f"tensorrt/{precision}"] = Row(
            group, f"`arnet export --engine {precision}`: census and parity gate", "tensorrt"
        )
    rows["tensorrt/device"] = Row(
        group, "query fp16 as above, device time with both copies", "tensorrt", "ms", ("<=", 1.0)
    )
    rows["tensorrt/host"] = Row(
        group, "query fp16 as above, host to host", "tensorrt", "ms", ("<=", 1.5)
    )
    rows["tensorrt/plugins"] = Row(group, "faster by the plugins", "tensorrt", "x")
    return rows


ROWS: dict[str, Row] = _rows()
"""Every row by its name, in the order of the page."""
