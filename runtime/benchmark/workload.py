"""What is measured on: supports of some classes, and photographs to segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import ConfigError
from arnet.runtime.finding import find_images
from arnet.runtime.images import read_image
from arnet.runtime.inference import ALL, read_classes
from arnet.runtime.supports import Support

MOST_QUERIES = 64
"""Photographs that are kept decoded in memory; of more, these many are taken at equal distances."""

FEWEST_QUERIES = 16
"""Fewer photographs than this say little about others; the result tells."""

SYNTHETIC_SIZE = (375, 500)
"""Height and width of synthetic photographs, those of most of PASCAL VOC's."""


@dataclass(frozen=True)
class Photograph:
    """A photograph to segment: (H, W, 3) uint8, RGB, and where it is from."""

    path: Path
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Workload:
    """Everything the contenders work on.

    Attributes:
        supports: annotated photographs by class; at least one class, at least one of each.
        queries: photographs to segment, at least one.
        synthetic: whether all of it is noise.
    """

    supports: dict[str, list[Support]]
    queries: list[Photograph]
    synthetic: bool = False

    def episode(self, shots: int, classes: int) -> dict[str, list[Support]]:
        """Supports of so many classes, so many of each; what is too few repeats.

        Args:
            shots: supports of each class.
            classes: how many; a repeated class is called "horse 2", "horse 3".
        """
        episode: dict[str, list[Support]] = {}
        names = list(self.supports)
        for number in range(classes):
            name, again = names[number % len(names)], number // len(names)
            chosen = list(islice(cycle(self.supports[name]), shots))
            episode[f"{name} {again + 1}" if again else name] = chosen
        return episode

    def notes(self, shots: Sequence[int], classes: Sequence[int]) -> list[str]:
        """What a reader must know about these photographs before believing the times."""
        notes = []
        if self.synthetic:
            notes.append(
                "SYNTHETIC: every photograph is noise. The times are those of photographs of this "
                "one size; the masks mean nothing."
            )
        fewest = min(len(members) for members in self.supports.values())
        if max(shots) > fewest:
            notes.append(
                f"{max(shots)} shots, but {fewest} annotated photograph{_s(fewest)}: "
                "supports repeat"
            )
        if max(classes) > len(self.supports):
            notes.append(
                f"{max(classes)} classes, but {len(self.supports)} in the support folder: "
                "the same class is learnt again under other names"
            )
        if len(self.queries) < FEWEST_QUERIES and not self.synthetic:
            count = len(self.queries)
            notes.append(f"{count} query photograph{_s(count)}; {FEWEST_QUERIES} say more")
        return notes


def read_workload(
    support: Path | None,
    query: str | None,
    shots: Sequence[int] = (1,),
    classes: Sequence[int] = (1,),
    synthetic: bool = False,
) -> Workload:
    """Read photographs and annotations, or make noise.

    Args:
        support: folder of annotated photographs, or of such folders, one per class.
        query: photograph, folder or pattern.
        shots: numbers of supports that noise is made for.
        classes: numbers of classes that noise is made for.
        synthetic: noise, in place of photographs.

    Raises:
        AnnotationError: see ``read_classes``.
        ConfigError: neither photographs nor noise were asked for, or both.
        ImageError: there are no photographs to segment, or one cannot be read.
    """
    if synthetic:
        if support is not None or query is not None:
            raise ConfigError(
                "--synthetic is noise in place of --support and --query",
                "leave the one or the others out",
            )
        return synthetic_workload(max(shots), max(classes))
    if support is None or query is None:
        raise ConfigError(
            f"there is no {'--support' if support is None else '--query'}",
            "give photographs, --support DIR --query DIR, or noise, --synthetic",
        )
    paths = find_images(query)
    if len(paths) > MOST_QUERIES:
        paths = [paths[i * len(paths) // MOST_QUERIES] for i in range(MOST_QUERIES)]
    by_class = read_classes(support, [ALL], "as-is")
    return Workload(by_class, [Photograph(path, read_image(path)) for path in paths])


def synthetic_workload(shots: int, classes: int, queries: int = FEWEST_QUERIES) -> Workload:
    """Noise instead of photographs, the same in every run.

    Args:
        shots: supports of each class, each with a disc as its mask.
        classes: how many.
        queries: photographs to segment.
    """
    generator = np.random.default_rng(0)
    height, width = SYNTHETIC_SIZE
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2)
    disc = (distance < height / 3).astype(np.uint8)

    def noise() -> NDArray[np.uint8]:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)

    blank = Support(Path("noise"), noise(), disc, "mask", "synthetic", None)
    return Workload(
        {
            f"noise {number}": [replace(blank, image=noise()) for _ in range(shots)]
            for number in range(1, classes + 1)
        },
        [Photograph(Path(f"noise-{number}"), noise()) for number in range(queries)],
        synthetic=True,
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"
