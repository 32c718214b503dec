"""What is marked where there is nothing: queries that do not show the class.

The protocols of the field ask only about queries that show it. Who segments a folder or a video
asks about others, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arnet.data.dataset import SegmentationDataset
from arnet.data.episodes import ABSENT, Episode, EvaluationEpisodes
from arnet.data.transforms import binary_mask
from arnet.evaluation.classes import classes_option
from arnet.evaluation.encoder import Annotation
from arnet.evaluation.evaluator import mask_of
from arnet.evaluation.metrics import Border
from arnet.evaluation.predictors import Predictor
from arnet.runtime.annotations.common import IGNORE
from arnet.runtime.errors import DataError

SPECK = 0.01
"""Share of a query's pixels, as far as they count, that a mask must exceed to be one."""


def queries_without(dataset: SegmentationDataset, classes: Iterable[int]) -> dict[int, list[str]]:
    """Image ids that do not show a class, not with one pixel, for each of some classes.

    In a union they are of the class's own member, since what another shows of it is not labelled;
    of a member with a ``limit`` they show some other class of the data set. Crowds of COCO are
    labelled 255, and say nothing.

    Raises:
        DataError: all photographs show one of the classes.
    """
    found: dict[int, list[str]] = {}
    for class_id in classes:
        images = [i for i in dataset.ids if class_id not in dataset.scan[i].pixels]
        if dataset.groups:
            member = dataset.class_names[class_id].split("/")[0]
            images = [i for i in images if i.startswith(f"{member}/")]
        found[class_id] = images
    always = [dataset.class_names[c] for c, images in found.items() if not images]
    if always:
        others = [dataset.class_names[c] for c, images in found.items() if images]
        choice = f"choose {classes_option(others)}, " if others else ""
        raise DataError(
            f"all photographs of {dataset.name} show {', '.join(always)}, so that there is none "
            "to be wrong in",
            f"{choice}add photographs without it, each with an empty mask, to those of the "
            "validation (val.txt), or leave --absent out",
        )
    return found


class AbsentEpisodes(Sequence[Episode]):
    """The episodes of an evaluation, each with a query that does not show its class."""

    def __init__(self, episodes: EvaluationEpisodes, images: Mapping[int, list[str]]) -> None:
        """Takes the episodes, and the images of each class that :func:`queries_without` gives."""
        self.episodes = episodes
        self._images = images

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, index: int) -> Episode:  # type: ignore[override]  # no slices
        episode = self.episodes[index]
        images = self._images[episode.class_id]
        rng = np.random.default_rng([self.episodes.seed, index, ABSENT])
        return replace(episode, query=images[rng.integers(len(images))])

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(len(self)))


class FalseMarks:
    """Adds up queries in which every mark is wrong."""

    def __init__(self, border: Border = "ignore") -> None:
        """Nothing yet.

        Args:
            border: "ignore" leaves pixels labelled 255 out.
        """
        self.border = border
        self._sums: dict[int, NDArray[np.float64]] = {}

    def update(
        self, class_id: int, prediction: NDArray[np.bool_], label: NDArray[np.uint8]
    ) -> None:
        """Add one mask (H, W), True where it sees the class, and what is labelled: 0 or 255."""
        if self.border == "ignore":
            prediction = prediction[label != IGNORE]
        area = float(prediction.mean()) if prediction.size else 0.0
        sums = self._sums.setdefault(class_id, np.zeros(3))
        sums += (1, area > SPECK, area)

    def per_class(self) -> dict[int, tuple[float, float]]:
        """Of each class, in percent: queries with more than ``SPECK`` marked, and the mean area."""
        return {
            class_id: (100 * float(marked / queries), 100 * float(area / queries))
            for class_id, (queries, marked, area) in self._sums.items()
        }

    def mean(self) -> tuple[float, float]:
        """The same two as means over the classes."""
        queries, area = np.mean(list(self.per_class().values()), axis=0)
        return float(queries), float(area)


def false_marks(
    predictor: Predictor,
    dataset: SegmentationDataset,
    episodes: Iterable[Episode],
    annotation: Annotation = "mask",
    border: Border = "ignore",
    observe: Callable[[], None] = lambda: None,
) -> FalseMarks:
    """What a predictor's q2 marks in queries that do not show the class.

    Args:
        predictor: what to score.
        dataset: where the labels are.
        episodes: what to ask, such as :class:`AbsentEpisodes`.
        annotation: what guides: the supports' masks, or boxes drawn around them.
        border: what pixels labelled 255 count as.
        observe: called after each episode.
    """
    found = FalseMarks(border)
    for episode in episodes:
        label = binary_mask(dataset.mask(episode.query), episode.class_id)
        predicted = mask_of(predictor(episode, annotation).q2, label.shape)
        found.update(episode.class_id, predicted, label)
        observe()
    return found
