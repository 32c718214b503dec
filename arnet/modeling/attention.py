"""Attention over the shots, as in CANet: the alternative to the CMM in Table 6."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arnet.modeling.layers import tile


class ShotAttention(nn.Module):
    """Weighs the k vectors by how well each support goes with the query.

    A branch of two 3x3 convolutions (the first with 3x3 maximum pooling) looks at the query, the
    masked support and its vector, is averaged to one number per shot, and a softmax over the shots
    gives the weights.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3 * in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, query: Tensor, support: Tensor, masks: Tensor, vectors: Tensor) -> Tensor:
        """Fuse k vectors.

        Args:
            query: features (N, C, h, w).
            support: features (N, k, C, h, w).
            masks: (N, k, 1, h, w), from 0 to 1.
            vectors: (N, k, C).

        Returns:
            (N, C).
        """
        batch, shots = vectors.shape[:2]
        if shots == 1:
            return vectors[:, 0]
        repeated = query[:, None].expand(-1, shots, -1, -1, -1).flatten(0, 1)
        tiled = tile(vectors.flatten(0, 1).to(query.dtype), query)
        x = torch.cat([repeated, (masks.to(support.dtype) * support).flatten(0, 1), tiled], dim=1)
        x = F.max_pool2d(self.conv1(x).relu(), 3)
        scores = self.conv2(x).float().mean(dim=(1, 2, 3)).view(batch, shots)
        return torch.einsum("nk,nkc->nc", scores.softmax(dim=1), vectors)
