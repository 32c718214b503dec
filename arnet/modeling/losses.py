"""Losses, eqs 1 and 2: cross-entropy of q1, s and q2 against the labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from arnet.modeling.state import Prediction
from arnet.runtime.annotations.common import IGNORE

_HEAVIEST = 50.0
"""Weight at which an object that covers less of the image gains no more."""


@dataclass(frozen=True)
class Losses:
    """Scalars; a part that the model leaves out is None."""

    total: Tensor
    q1: Tensor | None
    s: Tensor | None
    q2: Tensor


def arnet_loss(
    prediction: Prediction,
    query_labels: Tensor,
    support_labels: Tensor,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    balance: float = 0.0,
) -> Losses:
    """α L_q1 + β L_s + γ L_q2 (eq. 1 for one shot, eq. 2 for k).

    Eq. 2 sums over the k supports; a mean over the pixels of all of them keeps the balance of the
    parts the same for every k.

    Args:
        prediction: logits at feature size; they are upsampled to the labels.
        query_labels: (B, H, W), 0, 1 or 255 (ignored).
        support_labels: (B, k, H, W), likewise: the true masks, also where boxes guided.
        alpha: weight of q1.
        beta: weight of s.
        gamma: weight of q2.
        balance: how much pixels of a small object outweigh those around it, 0..1: 0 counts every
            pixel the same (the paper), 1 the object as much as all that surrounds it.
    """
    q2 = _cross_entropy(prediction.q2, query_labels, balance)
    total = gamma * q2
    q1 = s = None
    if prediction.q1 is not None:
        shots = prediction.q1.shape[1]
        repeated = query_labels[:, None].expand(-1, shots, -1, -1)
        q1 = _cross_entropy(prediction.q1.flatten(0, 1), repeated.flatten(0, 1), balance)
        total = total + alpha * q1
    if prediction.s is not None:
        s = _cross_entropy(prediction.s.flatten(0, 1), support_labels.flatten(0, 1), balance)
        total = total + beta * s
    return Losses(total, q1, s, q2)


def _cross_entropy(logits: Tensor, labels: Tensor, balance: float) -> Tensor:
    large = F.interpolate(
        logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )
    labels = labels.long()
    if not balance:
        return F.cross_entropy(large, labels, ignore_index=IGNORE)
    inside, outside = (labels == 1).float(), (labels == 0).float()
    area, rest = (side.sum(dim=(1, 2), keepdim=True) for side in (inside, outside))
    heavier = (rest / area.clamp(min=1)).clamp(1, _HEAVIEST) ** balance
    weights = outside + heavier * inside
    each = F.cross_entropy(large, labels, ignore_index=IGNORE, reduction="none") * weights
    # A mean of each image, so that one with a small object counts as much as any other.
    return (each.sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1)).mean()
