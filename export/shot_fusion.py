"""k support vectors of one class to one: the CMM as one operation, or their mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arnet.export.operators import ForgetEnhance
from arnet.modeling import ARNet
from arnet.modeling.cmm import CMM, ForgetEnhanceBlock
from arnet.modeling.layers import bias_of


def shot_fusion(model: ARNet) -> nn.Module | None:
    """The fusion that needs the vectors alone; None where the model has another."""
    if model.cmm is not None:
        return ShotFusion(model.cmm)
    return ShotMean() if model.config.fusion == "mean" else None


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
            torch.stack([torch.cat([bias_of(gate) for gate in three]) for three in gates])
        )
        self.steps = ForgetEnhance([block.dilation for block in blocks])

    def forward(self, vectors: Tensor) -> Tensor:
        """The last step, which has seen the shots up to ``shots_seen`` before it."""
        fused = self.steps(vectors, self.weight, self.bias)[-1:]
        return torch.where(torch.scalar_tensor(vectors.shape[0]) == 1, vectors[-1:], fused)


class ShotMean(nn.Module):
    """The mean of k vectors: (k, C) to (1, C)."""

    def forward(self, vectors: Tensor) -> Tensor:
        """The mean, in float32."""
        return vectors.float().mean(dim=0, keepdim=True)
