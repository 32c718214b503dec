"""Inputs of the kernels, fresh and random: the tests' odd cases, and the sizes of a real query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arnet.kernels.catalogue import KERNELS
from arnet.kernels.torch_operators import needs_dtype
from arnet.runtime.preprocessing import MEAN, STD

COLOURS = (*MEAN, *STD)
DTYPES = {name: getattr(torch, name) for name in ("float32", "float16", "bfloat16")}


@dataclass(frozen=True)
class Call:
    """A call of a kernel's operator.

    Attributes:
        name: of the kernel.
        tensors: its inputs.
        parameters: its parameters by name.
        dtype: the number format of the entry.
    """

    name: str
    tensors: tuple[Tensor, ...]
    parameters: dict[str, Any]
    dtype: torch.dtype

    def __call__(self) -> Tensor:
        """The result."""
        spec = KERNELS[self.name]
        extra = [self.dtype] if needs_dtype(spec) else []
        parameters = [self.parameters[name] for name in spec.parameters]
        result: Tensor = getattr(torch.ops.arnet, self.name)(*self.tensors, *parameters, *extra)
        return result

    def to(self, device: torch.device) -> Call:
        """The same on a device."""
        tensors = tuple(tensor.to(device) for tensor in self.tensors)
        return Call(self.name, tensors, self.parameters, self.dtype)

    def moved(self) -> int:
        """Bytes of all inputs and the output, each once: what has to be moved at least."""
        spec = KERNELS[self.name]
        variant = str(self.dtype).removeprefix("torch.")
        plan = spec.plan(variant, [t.shape for t in self.tensors], **self.parameters)
        shape, dtype = plan.outputs[0]
        output = torch.Size(shape).numel() * getattr(torch, dtype).itemsize
        if self.name == "forget_enhance":  # one block of the stack's weights
            vectors, *stack = self.tensors
            blocks = len(stack[0])
            return vectors.nbytes + sum(tensor.nbytes for tensor in stack) // blocks + output
        return sum(tensor.nbytes for tensor in self.tensors) + output


def of_case(case: Any, dtype: torch.dtype) -> Call:
    """A case of the tests as a call."""
    tensors = tuple(
        torch.from_numpy(array).to(dtype if tensor.dtype == "variant" else _dtype(tensor.dtype))
        for tensor, array in zip(KERNELS[case.kernel].inputs, case.inputs, strict=True)
    )
    return Call(case.kernel, tensors, case.parameters, dtype)


def _dtype(name: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, name)
    return found


def masked_pool(shots: int, dtype: torch.dtype, channels: int = 256, side: int = 60) -> Call:
    """Some masks over one map."""
    features = torch.randn(1, channels, side, side).to(dtype)
    return Call("masked_pool", (features, torch.rand(shots, 1, side, side)), {"area": 1}, dtype)


def masked_pool_resized(
    shots: int, dtype: torch.dtype, channels: int = 256, side: int = 60, size: int = 473
) -> Call:
    """Some masks of the size of the image over one map."""
    features = torch.randn(1, channels, side, side).to(dtype)
    masks = torch.rand(shots, 1, size, size)
    return Call("masked_pool_resized", (features, masks), {"area": 1}, dtype)


def masked_shift_sum(shots: int, dtype: torch.dtype, channels: int = 256, side: int = 60) -> Call:
    """Some masks over the taps of one query."""
    taps = torch.randn(1, 9 * channels, side, side).to(dtype)
    own = torch.randn(shots, channels, side, side).to(dtype)
    border = torch.randn(shots, 9, channels).to(dtype)
    tensors = (taps, torch.rand(shots, 1, side, side), own, border)
    return Call("masked_shift_sum", tensors, {}, dtype)


def masked_pool_nhwc(shots: int, dtype: torch.dtype, channels: int = 256, side: int = 60) -> Call:
    """Some masks over one map whose channels are last."""
    features = torch.randn(1, side, side, channels).to(dtype)
    masks = torch.rand(shots, 1, side, side)
    return Call("masked_pool_nhwc", (features, masks), {"area": 1}, dtype)


def masked_shift_sum_nhwc(
    shots: int, dtype: torch.dtype, channels: int = 256, side: int = 60
) -> Call:
    """Some masks over the taps of one query, channels last."""
    taps = torch.randn(1, side, side, 9 * channels).to(dtype)
    own = torch.randn(shots, side, side, channels).to(dtype)
    border = torch.randn(shots, 9, channels).to(dtype)
    tensors = (taps, torch.rand(shots, 1, side, side), own, border)
    return Call("masked_shift_sum_nhwc", tensors, {}, dtype)


def forget_enhance(shots: int, dtype: torch.dtype, channels: int = 256) -> Call:
    """The first of three blocks over k vectors."""
    vectors = torch.randn(shots, channels).to(dtype)
    weights = (torch.randn(3, 3 * channels, channels, 2) / (2 * channels) ** 0.5).to(dtype)
    biases = torch.randn(3, 3 * channels).to(dtype)
    parameters = {"block": 0, "dilation": 1}
    return Call("forget_enhance", (vectors, weights, biases), parameters, dtype)


def preprocess(size: int, dtype: torch.dtype, height: int = 1080, width: int = 1920) -> Call:
    """A photograph."""
    image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
    names = list(KERNELS["preprocess"].parameters)
    parameters = dict(zip(names, (size, *COLOURS), strict=True))
    return Call("preprocess", (image,), parameters, dtype)


def postprocess(
    name: str, count: int, dtype: torch.dtype, side: int = 60, height: int = 1080, width: int = 1920
) -> Call:
    """Margins of some classes, by one of the three kernels."""
    parameters: dict[str, Any] = {"height": height, "width": width}
    if name != "postprocess":
        parameters["threshold"] = 0.0
    return Call(name, (torch.randn(count, side, side).to(dtype),), parameters, dtype)


def of_a_query(dtype: torch.dtype, small: bool = False) -> list[Call]:
    """Every kernel at the sizes of a query and its supports: 473 px, five shots.

    Args:
        dtype: the number format.
        small: a rehearsal.
    """
    channels, side, height, width = (8, 9, 40, 50) if small else (256, 60, 375, 500)
    makers: list[Callable[[], Call]] = [
        lambda: masked_pool(5, dtype, channels, side),
        lambda: masked_pool_resized(1, dtype, channels, side, 8 * side - 7),
        lambda: masked_shift_sum(5, dtype, channels, side),
        lambda: masked_pool_nhwc(5, dtype, channels, side),
        lambda: masked_shift_sum_nhwc(5, dtype, channels, side),
        lambda: forget_enhance(5, dtype, channels),
        lambda: preprocess(8 * side - 7, dtype, height, width),
        *(
            lambda name=name: postprocess(name, 2, dtype, side, height, width)  # type: ignore[misc]
            for name in ("postprocess", "postprocess_mask", "postprocess_labels")
        ),
    ]
    return [make() for make in makers]
