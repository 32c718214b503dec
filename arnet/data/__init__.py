"""Data sets, their episodes and their augmentation.

:func:`open_dataset` opens any kind by its name; what it gives is always a
:class:`~arnet.data.dataset.SegmentationDataset`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arnet.data.dataset import Novel, SegmentationDataset, Split
from arnet.data.episodes import Episode, EvaluationEpisodes, TrainingEpisodes
from arnet.data.union import MEMBERS, union
from arnet.runtime.errors import DataError

__all__ = [
    "DATASETS",
    "GROWING",
    "Episode",
    "EvaluationEpisodes",
    "SegmentationDataset",
    "TrainingEpisodes",
    "open_dataset",
]

DATASETS: dict[str, Callable[..., SegmentationDataset]] = {**MEMBERS, "union": union}
"""Function that opens each kind of data set."""

GROWING = ("folder", "davis", "union")
"""Kinds whose photographs and classes are those that lie there, not those of a published list."""


def open_dataset(
    kind: str,
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    **options: Any,
) -> SegmentationDataset:
    """Opens a data set by its kind.

    Args:
        kind: ``"pascal"``, ``"coco"``, ``"folder"``, ``"davis"`` or ``"union"``.
        root: folder of the data.
        split: ``"train"`` (base classes) or ``"val"`` (novel classes).
        fold: which classes are novel; None holds none out.
        novel: what becomes of training images with novel classes, ``"background"`` or ``"drop"``.
        options: what else the function of that kind takes, such as ``cache_dir``.

    Raises:
        DataError: there is no such kind or option, or the data are not as they should be.
    """
    if kind not in DATASETS:
        raise DataError(f'there is no kind of data set "{kind}"', f"choose {', '.join(DATASETS)}")
    build = DATASETS[kind]
    parameters = inspect.signature(build).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(known)):
        raise DataError(
            f"the data set {kind} has no option {', '.join(unknown)}",
            f"its options are {', '.join(known)}",
        )
    return build(root, split, fold, novel, **options)
