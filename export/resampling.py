"""Bilinear resizing with antialiasing as matrix products.

TensorRT has no antialiased resize, and ONNX Runtime's differs from torch's at the borders. As a
product with one small matrix per side it is the same everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arnet.runtime.preprocessing import MEAN, STD


def averaging(length: Tensor, positions: Tensor, out: int) -> Tensor:
    """The matrix that resizes a line of pixels, as torch's antialiased bilinear does.

    Each new pixel is the mean of the old ones under a triangle that reaches to the neighbouring
    new pixels, or old ones where these are further apart.

    Args:
        length: number of old pixels, a scalar.
        positions: 0, 1, ... length - 1.
        out: number of new pixels.

    Returns:
        (out, length), float64; each row sums to 1.
    """
    scale = length.double() / out
    centres = (torch.arange(out, dtype=torch.float64) + 0.5) * scale
    distance = (positions.double()[None] + 0.5 - centres[:, None]).abs()
    weights = (1 - distance / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


class Preprocess(nn.Module):
    """(H, W, 3) uint8 RGB to (1, 3, S, S): resized, then (x / 255 - MEAN) / STD."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        """The pixels, float32."""
        rows = self.weights(image[:, 0, 0])
        columns = self.weights(image[0, :, 0])
        lines = rows @ image.float().flatten(1)  # (S, W * 3)
        planes = lines.view(self.size, -1, 3).permute(2, 0, 1) @ columns.T
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return ((planes / 255 - mean) / std)[None]

    def weights(self, line: Tensor) -> Tensor:
        """The matrix for a side of which ``line`` is one line of pixels."""
        ones = torch.ones_like(line, dtype=torch.float64)
        return averaging(ones.sum(), ones.cumsum(0) - 1, self.size).float()


class Averaging(nn.Module):
    """``resize_mask`` as two fixed matrices: (1, S, S) to (1, 1, h, w)."""

    def __init__(self, size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        length, positions = torch.tensor(size), torch.arange(size)
        self.rows = nn.Parameter(averaging(length, positions, grid[0]))
        self.columns = nn.Parameter(averaging(length, positions, grid[1]).T.contiguous())

    def forward(self, mask: Tensor) -> Tensor:
        """The share of each cell that the mask covers, 0..1, float32."""
        return (self.rows @ mask @ self.columns)[:, None]
