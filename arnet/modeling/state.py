"""What goes in and out of ARNet: plain values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SupportFeatures:
    """What the model keeps of k supports; a plain value.

    Attributes:
        features: F_s, reduced (B, k, C, h, w).
        masks: M_s at feature size (B, k, 1, h, w), from 0 to 1.
        vectors: V_s (B, k, C).
        prior: ``prior_features`` (B, k, 2, 1 + L, C') of the frozen deepest layer, as
            ``arnet.modeling.prior`` makes them; None without ``config.prior``.
    """

    features: Tensor
    masks: Tensor
    vectors: Tensor
    prior: Tensor | None = None

    @property
    def shots(self) -> int:
        """The number k of supports."""
        return self.features.shape[1]

    def add(self, other: SupportFeatures) -> SupportFeatures:
        """A state with the supports of this one, then those of the other."""
        prior = None
        if self.prior is not None and other.prior is not None:
            prior = torch.cat([self.prior, other.prior], dim=1)
        return SupportFeatures(
            torch.cat([self.features, other.features], dim=1),
            torch.cat([self.masks, other.masks], dim=1),
            torch.cat([self.vectors, other.vectors], dim=1),
            prior,
        )


@dataclass(frozen=True)
class QueryFeatures:
    """What the model keeps of B queries.

    Attributes:
        features: F_q, reduced (B, C, h, w).
        deep: the frozen deepest layer (B, C', h, w); None without ``config.prior``.
    """

    features: Tensor
    deep: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """Logits (background, foreground) at feature size.

    Attributes:
        q1: the query's mask as each support predicts it (B, k, 2, h, w); None without MPM1.
        s: the mask of each support, re-predicted (B, k, 2, h, w); None without MPM2.
        q2: the query's refined mask (B, 2, h, w), the result.
    """

    q1: Tensor | None
    s: Tensor | None
    q2: Tensor


FirstMasks = tuple[Tensor | None, Tensor | None]
"""Logits q1 and s, (B, k, 2, h, w) each; None without MPM1 or MPM2."""
