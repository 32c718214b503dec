"""The evaluator: one loop over episodes, for every protocol and every predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from arnet.data.dataset import SegmentationDataset
from arnet.data.episodes import Episode
from arnet.data.transforms import binary_mask
from arnet.evaluation.encoder import Annotation
from arnet.evaluation.metrics import Border, IoUMeter
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


def evaluate(
    predictor: Predictor,
    dataset: SegmentationDataset,
    episodes: Iterable[Episode],
    annotation: Annotation = "mask",
    border: Border = "ignore",
    progress: Callable[[int], None] = lambda done: None,
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
        progress: called with the number of episodes done.
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
        for name, margin, truth in pairs:
            height, width = truth.shape
            meter = meters.setdefault(name, IoUMeter(dataset.classes, border))
            predicted = (upsample(margin, (height, width)) > 0).numpy()
            meter.update(episode.class_id, predicted, truth)
        progress(done)
    return Scores({name: meters[name] for name in OUTPUTS if name in meters}, done)
