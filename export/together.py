"""Whether a bundle tells two classes in one photograph apart as the model does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from arnet.export.episodes import RealEpisode
from arnet.runtime.bundle import Manifest
from arnet.runtime.segmentation import Segmentation
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter


def takes_two(manifest: Manifest) -> bool:
    """Whether one call of ``decode`` takes two classes, in all of the bundle's plans, too."""
    return manifest.classes_together and all(plans.classes[2] > 1 for plans in manifest.plans)


def changed_labels(
    model: TorchSegmenter, bundle: Segmenter, episodes: Sequence[RealEpisode]
) -> float:
    """Fraction of the pixels whose label is another, where two classes are asked for at once.

    The classes are those of the first episode and of the first with another label, each asked for
    in the queries of both. Where there is only one, what surrounds it is the other.

    Args:
        model: the checkpoint as trained.
        bundle: what is judged; it takes two classes.
        episodes: one or more.
    """
    first, last = episodes[0], episodes[-1]
    second = next((one for one in episodes if one.label != first.label), _surroundings(last))

    def answers(segmenter: TorchSegmenter | Segmenter) -> Iterator[Segmentation]:
        # One shot beside several: a shot that is counted to the other class shows.
        states: Any = {
            first.label: segmenter.learn(first.images, first.masks),
            second.label: segmenter.learn(second.images[:1], second.masks[:1]),
        }
        return (segmenter.segment(query, states) for query in (first.query, second.query))

    changed = pixels = 0
    for expected, found in zip(answers(model), answers(bundle), strict=True):
        maps = np.stack([masks.probability for masks in found.classes.values()])
        # What is no number is no answer, though a label map shows it as background.
        other = (expected.labels() != found.labels()) | ~np.isfinite(maps).all(axis=0)
        changed, pixels = changed + int(other.sum()), pixels + other.size
    return changed / pixels


def _surroundings(episode: RealEpisode) -> RealEpisode:
    """The same of all but the object."""
    masks = tuple(np.where(mask == 255, mask, mask == 0).astype(np.uint8) for mask in episode.masks)
    return replace(episode, label=f"around {episode.label}", masks=masks)
