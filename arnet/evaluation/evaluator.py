"""The evaluator: one loop over episodes, for every protocol and every predictor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from arnet.data.dataset import SegmentationDataset
from arnet.data.episodes import Episode
from arnet.data.transforms import binary_mask
from arnet.evaluation.encoder import Annotation
from arnet.evaluation.metrics import Border, IoUMeter, percent
from arnet.evaluation.predictors import Predictor
from arnet.modeling.margins import upsample

OUTPUTS = ("q1", "s", "q2")


@dataclass(frozen=True)
class Scores:
    """What one run found.

    Attributes:
        meters: for each of the masks q1, s and q2 that the predictor gives.
        episodes: how many were scored.
    """

    meters: dict[str, IoUMeter]
    episodes: int


@dataclass(frozen=True)
class Scored:
    """What was found in one episode.

    Attributes:
        number: of the episode in its run, from 0.
        episode: its class, query and supports.
        iou: of the masks q1, s and q2 that the predictor gives, in percent; s of all supports
            together. None where neither the label nor the mask has anything. mIoU is not the mean
            of these: it sums intersections and unions first.
    """

    number: int
    episode: Episode
    iou: dict[str, float | None]


def evaluate(
    predictor: Predictor,
    dataset: SegmentationDataset,
    episodes: Iterable[Episode],
    annotation: Annotation = "mask",
    border: Border = "ignore",
    observe: Callable[[Scored], None] = lambda scored: None,
) -> Scores:
    """Score a predictor.

    The query's masks are scored at the query's original size, those of the supports at the size
    the model saw them.

    Args:
        predictor: what to score.
        dataset: where the labels are.
        episodes: what to ask.
        annotation: what guides: the supports' masks, or boxes drawn around them.
        border: what pixels labelled 255 count as.
        observe: called after each episode with what was found. Nothing of it is kept here.
    """
    meters: dict[str, IoUMeter] = {}
    done = 0
    for done, episode in enumerate(episodes, start=1):
        margins = predictor(episode, annotation)
        label = binary_mask(dataset.mask(episode.query), episode.class_id)
        pairs = [("q2", margins.q2, label)]
        if margins.q1 is not None:
            pairs.append(("q1", margins.q1, label))
        if margins.s is not None and margins.support_labels is not None:
            pairs += [
                ("s", s, truth.numpy())
                for s, truth in zip(margins.s, margins.support_labels, strict=True)
            ]
        counts: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(2, np.int64))
        for name, margin, truth in pairs:
            meter = meters.setdefault(name, IoUMeter(dataset.classes, border))
            predicted = mask_of(margin, truth.shape)
            counts[name] += meter.update(episode.class_id, predicted, truth)
        iou = {name: percent(counts[name]) for name in OUTPUTS if name in counts}
        observe(Scored(done - 1, episode, iou))
    return Scores({name: meters[name] for name in OUTPUTS if name in meters}, done)


def mask_of(margin: Tensor, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask of a margin (h, w) at a size (height, width): True on the object."""
    height, width = size
    return (upsample(margin, (height, width)) > 0).numpy()
