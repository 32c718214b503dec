"""Episodes by what was found in them: which were worst, and a picture of one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.data import SegmentationDataset
from arnet.data.transforms import binary_mask
from arnet.evaluation.encoder import Annotation
from arnet.evaluation.evaluator import Scored, mask_of
from arnet.evaluation.opening import Evaluation
from arnet.runtime.annotations.shapes import boxes_from_mask
from arnet.runtime.outputs.figure import FigureRow, figure
from arnet.runtime.supports import Support

Found = tuple[int, Scored]
"""The seed of the run, and an episode of it."""


def worst_first(found: Iterable[Found]) -> list[Found]:
    """Episodes by the IoU of q2, the lowest first; what has none comes last."""

    def q2(one: Found) -> float:
        iou = one[1].iou["q2"]
        return float("inf") if iou is None else iou

    return sorted(found, key=q2)


def each_query_once(ranked: Iterable[Found], most: int) -> list[Found]:
    """The first of them, without more of one class in one query: a run asks of many again."""
    first: dict[tuple[int, str], Found] = {}
    for one in ranked:
        episode = one[1].episode
        first.setdefault((episode.class_id, episode.query), one)
    return list(first.values())[:most]


def describe(found: Iterable[Found], dataset: SegmentationDataset) -> list[dict[str, Any]]:
    """Episodes as plain JSON values, in their order.

    Returns:
        For each "class", "query", "supports", "iou" (of q1, s and q2 in percent), and "seed" and
        "episode", its number, from which it can be drawn again.
    """
    return [
        {
            "class": dataset.class_names[scored.episode.class_id],
            "query": scored.episode.query,
            "supports": list(scored.episode.supports),
            "iou": scored.iou,
            "seed": seed,
            "episode": scored.number,
        }
        for seed, scored in found
    ]


def draw(evaluation: Evaluation, scored: Scored) -> NDArray[np.uint8]:
    """Draw an episode: supports, the query as it is labelled, q1, s and q2.

    The masks are predicted anew, so that none had to be kept: the same come of it.

    Args:
        evaluation: what it was scored by.
        scored: the episode.

    Returns:
        (H, W, 3) uint8, RGB; see :func:`arnet.runtime.outputs.figure.figure`.
    """
    dataset, annotation = evaluation.dataset, evaluation.request.annotation
    episode = scored.episode
    margins = evaluation.predictors["arnet"](episode, annotation)
    query = dataset.image(episode.query)
    supports = [_support(dataset, name, episode.class_id, annotation) for name in episode.supports]
    row = FigureRow(
        supports=supports,
        query=query,
        q1=None if margins.q1 is None else mask_of(margins.q1, query.shape[:2]),
        s=None
        if margins.s is None
        else [
            mask_of(s, support.mask.shape) for s, support in zip(margins.s, supports, strict=True)
        ],
        q2=mask_of(margins.q2, query.shape[:2]),
        name=dataset.class_names[episode.class_id],
        truth=binary_mask(dataset.mask(episode.query), episode.class_id),
    )
    return figure([row])


def _support(
    dataset: SegmentationDataset, image_id: str, class_id: int, annotation: Annotation
) -> Support:
    mask = binary_mask(dataset.mask(image_id), class_id)
    if annotation == "box":
        mask = boxes_from_mask(mask)
    return Support(Path(image_id), dataset.image(image_id), mask, annotation, image_id, None)
