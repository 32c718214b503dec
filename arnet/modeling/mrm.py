"""MRM, eqs 5 to 7: the query's refined mask, from both first masks and the support's vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from arnet.modeling.aspp import ASPP
from arnet.modeling.cbam import CBAM
from arnet.modeling.layers import Norm, convolution_block, tile

Placement = Literal["input", "residual", "none"]
"""Where the CBAM stands."""


class MRM(nn.Module):
    """Predicts q2 from the query's features, the vector V_s and the masks q1 and s."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        mask_channels: int = 4,
        cbam_reduction: int = 16,
        cbam_kernel: int = 7,
        aspp_rates: Sequence[int] = (6, 12, 18),
        norm: Norm = "none",
        dropout: float = 0.0,
        prior: float = 0.0,
        prior_in_training: float | None = None,
        cbam: Placement = "input",
    ) -> None:
        super().__init__()
        width = channels + mask_channels + bool(prior)
        self.prior_scale = prior
        self.prior_scale_in_training = prior if prior_in_training is None else prior_in_training
        self.conv1 = convolution_block(2 * in_channels, channels, norm=norm)
        self.conv2 = convolution_block(channels, channels, norm=norm)
        attention = nn.Identity() if cbam == "none" else CBAM(width, cbam_reduction, cbam_kernel)
        self.attention = attention if cbam == "input" else nn.Identity()
        self.residual = nn.Sequential(
            convolution_block(width, channels, norm=norm), nn.Conv2d(channels, width, 3, padding=1)
        )
        if cbam == "residual":
            self.residual.append(attention)
        self.aspp = ASPP(width, channels, aspp_rates, norm, dropout)

    def forward(
        self, query: Tensor, vector: Tensor, masks: Tensor, prior: Tensor | None = None
    ) -> Tensor:
        """Eqs 5 to 7.

        F3 = [F_q; f_u(V_s)], F4 = [q1; s; conv(conv(F3))], X = CBAM(F4), ASPP(X ⊕ conv(conv(X))).

        Args:
            query: features (N, C, h, w).
            vector: V_s, or the k vectors fused by the CMM, (N, C).
            masks: softmax maps of q1 and s, (N, mask_channels, h, w), from 0 to 1.
            prior: similarity map (N, 1, h, w), where the configuration has one.

        Returns:
            Logits (N, 2, h, w), background and foreground.
        """
        joined = torch.cat([query, tile(vector.to(query.dtype), query)], dim=1)
        refined = self.conv2(self.conv1(joined))
        maps = [masks, refined]
        if prior is not None:
            prior = prior * (self.prior_scale_in_training if self.training else self.prior_scale)
            maps.insert(1, prior)
        x = self.attention(torch.cat([m.to(refined.dtype) for m in maps], dim=1))
        logits: Tensor = self.aspp(x + self.residual(x))
        if prior is not None:  # half to the object, half against the background
            logits = logits + torch.cat([-prior / 2, prior / 2], dim=1)
        return logits
