"""Pieces that every part shares: the convolution block, tiling (f_u) and masked pooling (f_p)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pooling = Literal["area", "map"]
Norm = Literal["none", "batch"]

AREA_EPSILON = 5e-4
"""Added to the area of a mask, in cells, so that an empty mask pools to zero (CANet)."""


def bias_of(convolution: nn.Conv1d | nn.Conv2d) -> Tensor:
    """Its bias, which it must have."""
    assert convolution.bias is not None
    return convolution.bias


def convolution_block(
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    dilation: int = 1,
    norm: Norm = "none",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Convolution that keeps the size, then normalisation, ReLU and dropout of whole channels."""
    padding = dilation * (kernel // 2)
    block: list[nn.Module] = [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            padding=padding,
            dilation=dilation,
            bias=norm == "none",
        )
    ]
    if norm == "batch":
        block.append(nn.BatchNorm2d(out_channels))
    block.append(nn.ReLU(inplace=True))
    if dropout:
        block.append(nn.Dropout2d(dropout))
    return nn.Sequential(*block)


def tile(vector: Tensor, like: Tensor) -> Tensor:
    """f_u: a vector (N, C) at every cell of a map of the size of ``like`` (N, *, h, w)."""
    return vector[:, :, None, None].expand(-1, -1, *like.shape[-2:])


def masked_pool(features: Tensor, mask: Tensor, pooling: Pooling = "area") -> Tensor:
    """Eq. 3, V = f_p(M ⊗ F): the mean feature under a mask.

    Args:
        features: (N, C, h, w).
        mask: (N, 1, h, w), from 0 to 1.
        pooling: "area" divides by the mask's area, "map" by the number of cells.

    Returns:
        (N, C), in float32 whatever the precision of the features; zero for an empty mask.
    """
    features, mask = features.float(), mask.float()
    total = torch.einsum("nchw,nhw->nc", features, mask[:, 0])
    if pooling == "map":
        return total / (features.shape[-2] * features.shape[-1])
    return total / (mask.sum(dim=(2, 3)) + AREA_EPSILON)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at feature size, by averaging, so that soft values remain.

    Args:
        mask: (N, H, W), from 0 to 1.
        size: (h, w) of the feature map.

    Returns:
        (N, 1, h, w), from 0 to 1.
    """
    return F.interpolate(
        mask[:, None].float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
