"""MPM, eqs 3 and 4: the mask of one image, guided by another image and its mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arnet.modeling.layers import Norm, Pooling, convolution_block, masked_pool, tile


class MPM(nn.Module):
    """Predicts the mask of a target from a guide.

    The paper uses it twice: MPM1 predicts q1, the query's mask, guided by the support; MPM2
    predicts s, the support's mask, guided by the query and q1.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        pooling: Pooling = "area",
        masked_features: bool = True,
        norm: Norm = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.masked_features = masked_features
        inputs = 3 if masked_features else 2
        self.conv1 = convolution_block(inputs * in_channels, channels, norm=norm, dropout=dropout)
        self.conv2 = convolution_block(channels, channels, norm=norm, dropout=dropout)
        self.conv3 = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, target: Tensor, guide: Tensor, guide_mask: Tensor) -> Tensor:
        """Eqs 3 and 4: F1 = M ⊗ F, V = f_p(F1), F2 = f_u(V), conv(conv(conv([F_t; F1; F2]))).

        Args:
            target: features (N, C, h, w) of the image to be segmented.
            guide: features (N, C, h, w) of the image that guides.
            guide_mask: (N, 1, h, w), from 0 to 1.

        Returns:
            Logits (N, 2, h, w), background and foreground.
        """
        vector = masked_pool(guide, guide_mask, self.pooling).to(target.dtype)
        maps = [target, tile(vector, target)]
        if self.masked_features:
            # F1 keeps the geometry of the guide: the paper concatenates it as it is.
            maps.insert(1, guide_mask.to(guide.dtype) * guide)
        logits: Tensor = self.conv3(self.conv2(self.conv1(torch.cat(maps, dim=1))))
        return logits
