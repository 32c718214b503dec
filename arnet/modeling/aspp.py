"""ASPP: one map at several fields of view (DeepLab v3, as CANet uses it)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arnet.modeling.layers import Norm, convolution_block, tile


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling that ends in the two logits."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        rates: Sequence[int] = (6, 12, 18),
        norm: Norm = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        # The pooled branch is a single cell per image: batch statistics mean nothing there.
        self.pooled = convolution_block(in_channels, channels, kernel=1)
        self.branches = nn.ModuleList(
            [convolution_block(in_channels, channels, kernel=1, norm=norm, dropout=dropout)]
            + [
                convolution_block(in_channels, channels, dilation=rate, norm=norm, dropout=dropout)
                for rate in rates
            ]
        )
        branches = len(rates) + 2
        self.project = convolution_block(branches * channels, channels, kernel=1, norm=norm)
        self.classify = nn.Conv2d(channels, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 2, h, w) of a map (N, C, h, w)."""
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True))
        maps = [tile(pooled[:, :, 0, 0], x)] + [branch(x) for branch in self.branches]
        logits: Tensor = self.classify(self.project(torch.cat(maps, dim=1)))
        return logits
