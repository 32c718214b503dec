"""The factorised stages as they run fastest in torch on a GPU, with our kernels.

The kernels take the place of the operations of ``operators``; all maps after the first convolution
lie channels last, as cuDNN's half-precision convolutions want them; and the tap products are a
matrix product whose result the shift-and-sum reads as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arnet.export.channels import align
from arnet.export.fused import Products, fused
from arnet.export.operators import (
    ForgetEnhance,
    MaskedPool,
    MaskedPoolResized,
    MaskedShiftSum,
    Operator,
)
from arnet.export.precision import halve
from arnet.export.shot_fusion import ShotFusion
from arnet.export.stages import EncodeQuery, Stages
from arnet.kernels.torch_operators import forget_enhance_stack
from arnet.runtime.preprocessing import MEAN, STD
from arnet.runtime.segmentation import check_classes

Precision = Literal["fp32", "fp16"]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}

REPLACEABLE = (
    "masked_pool", "masked_shift_sum", "forget_enhance", "preprocess", "postprocess",
    "fused_layers",
)  # fmt: skip
"""What can be left to the framework, to see what it brings.

Our kernels by name, and ``fused_layers``, all that ``arnet.export.fused`` does.
"""


def accelerated(
    stages: Stages, precision: Precision, device: torch.device, without: Collection[str] = ()
) -> dict[str, nn.Module]:
    """The stages of a model on a device, ready to run.

    Args:
        stages: in float32; they stay as they are.
        precision: what is computed in, with the islands of ``halve``.
        device: where.
        without: those of ``REPLACEABLE`` in whose place the framework's own operations run.
    """
    modules = halve(stages).modules if precision == "fp16" else copy.deepcopy(stages.modules)
    if precision == "fp16":
        align(modules["decode"])
    if "fused_layers" not in without:
        modules = {name: fused(module) for name, module in modules.items()}
    for module in modules.values():
        _with_kernels(module, without)
        module.to(device)
        for convolution in module.modules():
            if isinstance(convolution, nn.Conv2d):
                convolution.to(memory_format=torch.channels_last)
    query = modules["encode_query"]
    if isinstance(query, EncodeQuery) and query.taps is not None:
        query.taps = Products(query.taps)  # type: ignore[assignment]  # a module like another
    return modules


class KernelPool(Operator):
    """``MaskedPool`` by its kernel, of features that lie channels last."""

    def __init__(self, operator: MaskedPool | MaskedPoolResized) -> None:
        super().__init__()
        self.area = int(operator.pooling == "area")
        # Averaging first was measured to be faster than the kernel that does both.
        self.average = operator.average if isinstance(operator, MaskedPoolResized) else None

    def define(self, *tensors: Tensor) -> Tensor:
        """The result, of the type of the features."""
        features, masks = tensors
        masks = masks.float() if self.average is None else self.average(masks[:, 0].float())
        pooled: Tensor = torch.ops.arnet.masked_pool_nhwc(
            features.permute(0, 2, 3, 1), masks, self.area
        )
        return pooled


class KernelShiftSum(Operator):
    """``MaskedShiftSum`` by its kernel, of maps that lie channels last."""

    def define(self, *tensors: Tensor) -> Tensor:
        """The result, of the type of the taps, channels last."""
        taps, masks, own, border = tensors
        result: Tensor = torch.ops.arnet.masked_shift_sum_nhwc(
            taps.permute(0, 2, 3, 1),
            masks.float(),
            own.to(taps.dtype).permute(0, 2, 3, 1),
            border.to(taps.dtype),
        )
        return result.permute(0, 3, 1, 2)


class KernelShotFusion(nn.Module):
    """``ShotFusion`` with a launch for each block; the number of shots is known to the host."""

    def __init__(self, fusion: ShotFusion) -> None:
        super().__init__()
        self.weight, self.bias = fusion.weight, fusion.bias
        self.dilations = fusion.steps.dilations

    def forward(self, vectors: Tensor) -> Tensor:
        """(k, C) to (1, C), of the type of the weights."""
        if vectors.shape[0] == 1:
            return vectors
        x = vectors.to(self.weight.dtype)
        return forget_enhance_stack(x, self.weight, self.bias, self.dilations)[-1:]


class OwnShotFusion(KernelShotFusion):
    """The same by the framework's own operations."""

    def forward(self, vectors: Tensor) -> Tensor:
        """(k, C) to (1, C)."""
        if vectors.shape[0] == 1:
            return vectors
        return ForgetEnhance(self.dilations).define(vectors, self.weight, self.bias)[-1:]


_REPLACED: tuple[tuple[str, type[nn.Module], Callable[[Any], nn.Module]], ...] = (
    ("masked_pool", MaskedPool, KernelPool),
    ("masked_pool", MaskedPoolResized, KernelPool),
    ("masked_shift_sum", MaskedShiftSum, lambda operator: KernelShiftSum()),
    ("forget_enhance", ShotFusion, KernelShotFusion),
)


def _with_kernels(module: nn.Module, without: Collection[str]) -> None:
    for name, child in list(module.named_children()):
        for kernel, kind, replacement in _REPLACED:
            if isinstance(child, kind) and kernel not in without:
                setattr(module, name, replacement(child))
                break
        else:
            if isinstance(child, ShotFusion):  # with what a graph can hold, whatever runs it
                setattr(module, name, OwnShotFusion(child))
            else:
                _with_kernels(child, without)


class Preparation(nn.Module):
    """uint8 (H, W, 3) to pixels (1, 3, S, S), by the kernel or the framework's interpolation."""

    def __init__(self, size: int, dtype: torch.dtype, kernel: bool) -> None:
        super().__init__()
        self.size, self.dtype, self.kernel = size, dtype, kernel
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(STD).view(3, 1, 1))
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """The pixels, as planes."""
        if self.kernel:
            pixels: Tensor = torch.ops.arnet.preprocess(image, self.size, *MEAN, *STD, self.dtype)
            return pixels
        planes = image.permute(2, 0, 1)[None].float()
        resized = F.interpolate(planes, (self.size, self.size), mode="bilinear", antialias=True)
        return ((resized / 255 - self.mean) / self.deviation).to(self.dtype)


def probabilities(margins: Tensor, size: tuple[int, int], kernel: bool = True) -> Tensor:
    """(N, h, w) margins to probabilities (N, H, W), float32."""
    if kernel:
        found: Tensor = torch.ops.arnet.postprocess(margins, *size)
        return found
    return _enlarged(margins, size).sigmoid()


def labels(margins: Tensor, size: tuple[int, int], kernel: bool = True) -> Tensor:
    """(N, h, w) margins to the label map (H, W), uint8: 0, or 1 + the class."""
    check_classes(margins)
    if kernel:
        found: Tensor = torch.ops.arnet.postprocess_labels(margins, *size, 0.0)
        return found
    largest, number = _enlarged(margins, size).max(dim=0)
    return torch.where(largest > 0, number + 1, 0).to(torch.uint8)


def _enlarged(margins: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(margins[None].float(), size, mode="bilinear", align_corners=False)[0]
