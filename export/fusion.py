"""The CMM as one operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arnet.export.operators import ForgetEnhance
from arnet.modeling.cmm import CMM, ForgetEnhanceBlock


class ShotFusion(nn.Module):
    """The CMM: k vectors (k, C) to one (1, C); a single vector passes unchanged."""

    def __init__(self, cmm: CMM) -> None:
        super().__init__()
        blocks = [block for block in cmm.blocks if isinstance(block, ForgetEnhanceBlock)]
        gates = [(block.forget, block.update, block.enhance) for block in blocks]
        self.weight = nn.Parameter(
            torch.stack([torch.cat([gate.weight for gate in three]) for three in gates])
        )
        self.bias = nn.Parameter(
            torch.stack([torch.cat([_bias(gate) for gate in three]) for three in gates])
        )
        self.steps = ForgetEnhance([block.dilation for block in blocks])

    def forward(self, vectors: Tensor) -> Tensor:
        """The last step, which has seen every shot."""
        fused = self.steps(vectors, self.weight, self.bias)[-1:]
        return torch.where(torch.scalar_tensor(vectors.shape[0]) == 1, vectors[-1:], fused)


def _bias(convolution: nn.Conv1d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
