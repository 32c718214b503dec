"""CMM, eq. 8: k support vectors become one, by forget-and-enhance blocks along the shots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from arnet.modeling.layers import bias_of

Start = Literal["last", "mean"]
"""What an untrained CMM is near to."""

MEAN_SHOTS = 5
"""Shots whose mean a CMM that starts at the mean gives; of fewer it gives so much less."""


class ForgetEnhanceBlock(nn.Module):
    """FEB, eq. 8: x' = x ⊗ σ(C_f(x)) ⊕ tanh(C_u(x)) ⊗ σ(C_e(x)).

    C are three causal convolutions along the shots (SNAIL): padded on the left by
    (kernel - 1) * dilation, so that step j sees shots up to j and the length stays.
    """

    def __init__(
        self, channels: int, kernel: int = 2, dilation: int = 1, gate_bias: float = 0.0
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.padding = (kernel - 1) * dilation
        self.forget = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.update = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.enhance = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        nn.init.constant_(bias_of(self.forget), gate_bias)
        nn.init.constant_(bias_of(self.enhance), -gate_bias)

    def forward(self, x: Tensor) -> Tensor:
        """One block over (N, C, k); same shape."""
        past = F.pad(x, (self.padding, 0))
        kept = x * self.forget(past).sigmoid()
        added: Tensor = self.update(past).tanh() * self.enhance(past).sigmoid()
        return kept + added


class CMM(nn.Module):
    """Category-modulation module: stacked FEBs, of whose output the last step is taken.

    Attributes:
        shots_seen: how many shots, the last ones, it sees, 8 by default; what is before them is not
            in the result.
    """

    def __init__(
        self,
        channels: int,
        dilations: Sequence[int] = (1, 2, 4),
        kernel: int = 2,
        gate_bias: float = 0.0,
        start: Start = "last",
    ) -> None:
        super().__init__()
        self.shots_seen = 1 + sum((kernel - 1) * dilation for dilation in dilations)
        blocks = [
            ForgetEnhanceBlock(channels, kernel, dilation, gate_bias) for dilation in dilations
        ]
        if start == "mean" and blocks:
            share = min(MEAN_SHOTS, self.shots_seen) ** (-1 / len(dilations))
            for block in blocks:
                _start_at_mean(block, share)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, vectors: Tensor) -> Tensor:
        """Fuse k vectors.

        Args:
            vectors: V_s of each shot, (N, k, C), in the order of the shots.

        Returns:
            (N, C). A single vector passes unchanged, so that one shot needs no CMM.
        """
        if vectors.shape[1] == 1:
            return vectors[:, 0]
        steps: Tensor = self.blocks(vectors.transpose(1, 2))
        return steps[:, :, -1]


def _start_at_mean(block: ForgetEnhanceBlock, share: float) -> None:
    """Make x' = share * (x + tanh(earlier x)): what is small is added up, since tanh(x) is near x.

    Blocks whose dilations double add up every shot once, if kernel is 2.
    """
    for gate in (block.forget, block.enhance):
        nn.init.zeros_(gate.weight)
        nn.init.constant_(bias_of(gate), math.log(share / (1 - share)))
    nn.init.zeros_(bias_of(block.update))
    nn.init.zeros_(block.update.weight)
    for tap in range(block.update.kernel_size[0] - 1):  # the last tap is the shot itself
        nn.init.eye_(block.update.weight.data[:, :, tap])
