"""From the logits of a prediction to masks: margins, positive on the object, at any size."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from arnet.modeling.state import Prediction


@dataclass(frozen=True)
class Margins:
    """The answer to an episode.

    Attributes:
        q2: the query's final mask (h, w).
        q1: the query's first mask (h, w), averaged over the supports.
        s: the mask of each support, re-predicted (k, h, w).
        support_labels: true masks of the supports (k, H, W), 0, 1 or 255.
    """

    q2: Tensor
    q1: Tensor | None = None
    s: Tensor | None = None
    support_labels: Tensor | None = None


def margins_of(prediction: Prediction, support_labels: Tensor | None = None) -> Margins:
    """Margins of a prediction for one query (B = 1)."""

    def margin(logits: Tensor) -> Tensor:
        logits = logits.float().cpu()
        return logits[..., 1, :, :] - logits[..., 0, :, :]

    return Margins(
        q2=margin(prediction.q2)[0],
        q1=None if prediction.q1 is None else margin(prediction.q1)[0].mean(dim=0),
        s=None if prediction.s is None else margin(prediction.s)[0],
        support_labels=support_labels,
    )


def upsample(margin: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) at another size, bilinear."""
    return F.interpolate(margin[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
