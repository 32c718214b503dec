"""Channels of zeros, where tensor cores take channels by eight and a model has others: exact."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from arnet.export.decoder import Refinement, SecondHalf
from arnet.modeling.cbam import CBAM

ALIGNMENT = 8
"""Channels that tensor cores take at a time in half precision: others are computed slowly."""


def widened(convolution: nn.Module, inputs: int = 0, outputs: int = 0, at: int = 0) -> nn.Conv2d:
    """The same convolution with more channels, whose weights are zero.

    Args:
        convolution: without groups; it stays as it is.
        inputs: channels more that it takes.
        outputs: channels more that it gives.
        at: channel before which they stand; 0 for behind the last.
    """
    assert isinstance(convolution, nn.Conv2d)
    wide = copy.deepcopy(convolution)
    weight = _with_zeros(convolution.weight.detach(), inputs, at, 1)
    wide.weight = nn.Parameter(_with_zeros(weight, outputs, at, 0))
    wide.in_channels, wide.out_channels = wide.weight.shape[1], wide.weight.shape[0]
    if convolution.bias is not None:
        wide.bias = nn.Parameter(_with_zeros(convolution.bias.detach(), outputs, at, 0))
    return wide


def align(decode: nn.Module) -> None:
    """Bring the channels of a ``Decode`` in place to what tensor cores take: exact.

    Channels of zeros stand between the masks and the refined features. They change no maximum over
    the channels, since a mask is 0 or more; a mean over the channels is weighed the more.
    """
    for module in decode.modules():
        if isinstance(module, SecondHalf):
            module.products = widened(module.products, outputs=-9 % ALIGNMENT)
        if isinstance(module, Refinement) and len(module.residual) == 2:
            first: Any = module.residual[0]
            last: Any = module.residual[1]
            aspp: Any = module.aspp
            width: int = last.out_channels
            extra, at = -width % ALIGNMENT, width - first[0].out_channels
            if not extra:
                continue
            module.filling = extra
            module.residual[1] = widened(last, outputs=extra, at=at)
            for block in (first, aspp.pooled, *aspp.branches):
                block[0] = widened(block[0], inputs=extra, at=at)
            if isinstance(module.attention, CBAM):
                gate, place = module.attention.channel, module.attention.place
                gate[0] = widened(gate[0], inputs=extra, at=at)
                gate[2] = widened(gate[2], outputs=extra, at=at)
                weights = place.weight.detach().clone()
                weights[:, 0] *= (width + extra) / width
                place.weight = nn.Parameter(weights)


def _with_zeros(weight: Tensor, count: int, at: int, dim: int) -> Tensor:
    if not count:
        return weight
    before = weight.narrow(dim, 0, at or weight.shape[dim])
    after = weight.narrow(dim, before.shape[dim], weight.shape[dim] - before.shape[dim])
    shape = list(weight.shape)
    shape[dim] = count
    return torch.cat([before, weight.new_zeros(shape), after], dim=dim)
