"""Episodes: which image is the query, and which k images of the same class are its support.

An episode depends on the seed and its own number only, never on what was drawn before: a training
that resumes at step n, or with other workers, sees exactly the episodes it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from arnet.data.dataset import SegmentationDataset, count_shots
from arnet.runtime.errors import DataError

Sampling = Literal["class", "image"]
Order = Literal["canet", "random"]

# Streams of one seed: [seed, n] draws episode n, [seed, n, stream] something about it. ABSENT and
# VIEWS are one stream, so that a query without the class goes with small numbers for the view of
# the first support. That is harmless, since these are seeds of other generators, and it stays: the
# models in weights/ and the figures of docs/results.md were drawn so.
SHOTS, COPY, ABSENT = 1, 2, 3
VIEWS, GUIDES = 3, 4


@dataclass(frozen=True)
class Episode:
    """One task: cut the class out of the query, as the support shows it.

    Attributes:
        class_id: the class.
        query: image id of the query; in training it may be one that does not show the class.
        supports: image ids of the k supports, all different, none of them the query.
    """

    class_id: int
    query: str
    supports: tuple[str, ...]


class TrainingEpisodes:
    """Endless random episodes over the base classes."""

    def __init__(
        self,
        dataset: SegmentationDataset,
        classes: Sequence[int] | None = None,
        shots: tuple[int, int] = (1, 1),
        seed: int = 0,
        sampling: Sampling = "class",
        absent: float = 0.0,
    ) -> None:
        """Checks that every class has images enough.

        Args:
            dataset: the data.
            classes: class ids to draw from; None takes those of the data set.
            shots: least and most number of supports, both included.
            seed: 0 or more; another one gives other episodes.
            sampling: ``"class"`` draws the class first, so that all are seen equally often;
                ``"image"`` draws a pair of the list, so that frequent classes are seen more often.
            absent: how often the query is an image that does not show the class, 0..1; also one
                that shows none. In a union it is rarer: what is drawn first may show the class.

        Raises:
            DataError: a class has no images enough for the most shots, a class is unknown, or
                ``shots`` or ``sampling`` is wrong.
        """
        low, high = shots
        if not 1 <= low <= high:
            raise DataError(
                f"shots from {low} to {high} cannot be drawn", "give 1 <= least <= most, as (1, 5)"
            )
        if sampling not in ("class", "image"):
            raise DataError(f'there is no sampling "{sampling}"', 'choose "class" or "image"')
        self.dataset = dataset
        self.classes = _checked_classes(dataset, classes, high)
        self.shots = (low, high)
        self.seed = seed
        self.sampling = sampling
        self._pairs = _pairs(dataset, self.classes)
        self._chances = _chances(dataset, self.classes)
        self.absent = absent
        self._images = sorted({image for image, _ in self._pairs})
        # A union is drawn from as it was for the models in weights/.
        self._united = bool(dataset.groups)
        self._others: dict[int, list[str]] = {}

    def draw(self, index: int) -> Episode:
        """Episode number ``index``, counted from 0, with a k of its own."""
        return self._draw(index, self._draw_shots(index))

    def draw_batch(self, index: int, batch_size: int) -> list[Episode]:
        """Batch number ``index``: the next ``batch_size`` episodes, all with the same k."""
        shots = self._draw_shots(index)
        first = index * batch_size
        return [self._draw(number, shots) for number in range(first, first + batch_size)]

    @cached_property
    def always_shown(self) -> tuple[int, ...]:
        """Classes that every image shows, so that no query can be without."""
        return tuple(c for c in self.classes if not self._without(c))

    def _draw(self, index: int, shots: int) -> Episode:
        rng = np.random.default_rng([self.seed, index])
        if self.sampling == "class":
            class_id = self.classes[
                rng.integers(len(self.classes))
                if self._chances is None
                else rng.choice(len(self.classes), p=self._chances)
            ]
            images = self.dataset.by_class[class_id]
            query = images[rng.integers(len(images))]
        else:
            query, class_id = self._pairs[rng.integers(len(self._pairs))]
        episode = _with_supports(self.dataset, class_id, query, shots, rng)
        chance = np.random.default_rng([self.seed, index, ABSENT])
        if chance.random() < self.absent:
            other = self._images[chance.integers(len(self._images))]
            others = self._without(class_id)
            if class_id in self.dataset.scan[other].pixels and others and not self._united:
                other = others[chance.integers(len(others))]
            if class_id not in self.dataset.scan[other].pixels:
                episode = replace(episode, query=other)
        return episode

    def _without(self, class_id: int) -> list[str]:
        """Images that do not show a class: those of the other classes, and those of none."""
        if class_id not in self._others:
            images = self._images if self._united else [*self._images, *self.dataset.unmarked]
            scan = self.dataset.scan
            self._others[class_id] = [i for i in images if class_id not in scan[i].pixels]
        return self._others[class_id]

    def _draw_shots(self, index: int) -> int:
        low, high = self.shots
        return int(np.random.default_rng([self.seed, index, SHOTS]).integers(low, high + 1))


class EvaluationEpisodes(Sequence[Episode]):
    """A fixed number of episodes over the novel classes."""

    def __init__(
        self,
        dataset: SegmentationDataset,
        classes: Sequence[int] | None = None,
        shots: int = 1,
        episodes: int = 1000,
        seed: int = 0,
        order: Order = "random",
    ) -> None:
        """Checks that every class has images enough.

        Args:
            dataset: the data.
            classes: class ids to evaluate; None takes those of the data set.
            shots: number of supports, k.
            episodes: number of episodes.
            seed: 0 or more; draws the supports and the queries.
            order: how the queries run through the list of (image, class) pairs. ``"canet"`` in
                order once, then through newly shuffled copies; ``"random"`` drawn anew each time.

        Raises:
            DataError: a class has no images enough, a class is unknown, or another argument is
                wrong.
        """
        if shots < 1 or episodes < 1:
            raise DataError(
                f"{episodes} episodes of {shots} shots cannot be drawn", "give at least 1 of each"
            )
        if order not in ("canet", "random"):
            raise DataError(f'there is no order "{order}"', 'choose "canet" or "random"')
        self.dataset = dataset
        self.classes = _checked_classes(dataset, classes, shots)
        self.shots = shots
        self.episodes = episodes
        self.seed = seed
        self.order = order
        self._pairs = _pairs(dataset, self.classes)
        self._queries = self._query_numbers()

    def __len__(self) -> int:
        return self.episodes

    def __getitem__(self, index: int) -> Episode:  # type: ignore[override]  # no slices
        if not 0 <= index < self.episodes:
            raise IndexError(f"episode {index} of {self.episodes}")
        query, class_id = self._pairs[self._queries[index]]
        rng = np.random.default_rng([self.seed, index])
        return _with_supports(self.dataset, class_id, query, self.shots, rng)

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(self.episodes))

    def _query_numbers(self) -> np.ndarray:
        """Position of the query of each episode in the list of pairs."""
        count = len(self._pairs)
        rng = np.random.default_rng([self.seed, 0, COPY])
        if self.order == "random":
            return rng.integers(count, size=self.episodes)
        shuffled = [rng.permutation(count) for _ in range(-(-self.episodes // count) - 1)]
        return np.concatenate([np.arange(count), *shuffled])[: self.episodes]


def _checked_classes(
    dataset: SegmentationDataset, classes: Sequence[int] | None, shots: int
) -> tuple[int, ...]:
    """The classes, each of which has a query and ``shots`` other images."""
    chosen = dataset.classes if classes is None else tuple(classes)
    unknown = [c for c in chosen if c not in dataset.by_class]
    if unknown or not chosen:
        raise DataError(
            f'"{dataset.name}" does not offer the classes {", ".join(map(str, unknown))}'
            if unknown
            else f'"{dataset.name}" offers no class to draw episodes from',
            f"it offers {', '.join(map(str, dataset.classes)) or 'none'}",
        )
    short = {c: n for c in chosen if (n := len(dataset.by_class[c])) < shots + 1}
    if short:
        counts = ", ".join(f"{c} {dataset.class_names[c]} {n}" for c, n in short.items())
        enough = ",".join(dataset.class_names[c] for c in dataset.classes_with(shots + 1))
        raise DataError(
            f"{count_shots(shots)} need{'s' if shots == 1 else ''} {shots + 1} images of each "
            f'class; "{dataset.name}" has fewer of: {counts}',
            _enough(shots, enough, max(map(len, dataset.by_class.values()))),
        )
    return chosen


def _enough(shots: int, classes: str, most: int) -> str:
    """What to do where shots are too many: these classes have enough, ``most`` is the largest."""
    if most < 2:
        return (
            "even one shot takes two photographs of a class, one as the support of the other: add "
            "photographs, or name more of them in val.txt and the rest in train.txt (without "
            "these lists, a plain folder keeps about a fifth for validation)"
        )
    if not classes:
        return f"take fewer shots, at most {most - 1}: no class has images enough for these"
    fewer = "" if shots == 1 else "take fewer shots, or "
    return f"{fewer}take only classes with enough images: --classes {classes}"


def _chances(dataset: SegmentationDataset, classes: Sequence[int]) -> np.ndarray | None:
    """Probability of each class: the share of its group, divided by the classes of the group."""
    if not dataset.groups:
        return None
    weights = dict.fromkeys(classes, 0.0)
    for share, group in dataset.groups:
        here = [c for c in group if c in weights]
        weights |= dict.fromkeys(here, share / max(len(here), 1))
    chances = np.array(list(weights.values()))
    return chances / chances.sum()


def _pairs(dataset: SegmentationDataset, classes: Sequence[int]) -> list[tuple[str, int]]:
    wanted = set(classes)
    return [pair for pair in dataset.pairs if pair[1] in wanted]


def _with_supports(
    dataset: SegmentationDataset, class_id: int, query: str, shots: int, rng: np.random.Generator
) -> Episode:
    """Draws the supports among the other images of the class, none twice."""
    others = [image for image in dataset.by_class[class_id] if image != query]
    chosen = rng.choice(len(others), size=shots, replace=False)
    return Episode(class_id, query, tuple(others[n] for n in chosen))
