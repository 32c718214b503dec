"""A segmenter that really learns and costs next to nothing, and photographs for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arnet.runtime.benchmark.result import BenchmarkResult
from arnet.runtime.benchmark.run import Scope, run
from arnet.runtime.benchmark.scenarios import Contender
from arnet.runtime.benchmark.workload import Photograph, Workload
from arnet.runtime.segmentation import ClassMasks, Segmentation
from arnet.runtime.supports import Support


@dataclass
class ColourSegmenter:
    """Knows a thing by its mean colour.

    Attributes:
        delay: seconds that a query takes longer.
        learning: seconds that each support takes.
        swapped: whether it mistakes the thing for all the rest.
        caches_support: whether the delay of learning falls on ``learn`` or on ``segment``.
        device: what it says it runs on.
    """

    delay: float = 0.0
    learning: float = 0.0
    swapped: bool = False
    caches_support: bool = True
    device: str = "cpu"

    def learn(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self.caches_support:
            time.sleep(self.learning * len(images))
        # One after the other: as many shots, as many colours.
        return [image[mask == 1].mean(axis=0) for image, mask in zip(images, masks, strict=True)]

    def segment(self, image: np.ndarray, states: Mapping[str, Any]) -> Segmentation:
        began = time.perf_counter()
        if not self.caches_support:
            time.sleep(self.learning * sum(map(len, states.values())))
        time.sleep(self.delay)
        waited = time.perf_counter()
        classes = {}
        for name, colours in states.items():
            distance = np.abs(image - np.mean(colours, axis=0)).sum(axis=2)
            probability = np.exp(-distance / 100).astype(np.float32)
            if self.swapped:
                probability = 1 - probability
            classes[name] = ClassMasks(probability, None, None)
        return Segmentation(
            classes, {"wait": waited - began, "compare": time.perf_counter() - waited}
        )

    def describe(self) -> dict[str, Any]:
        return {"kind": "colours", "sha256": "0123456789abcdef", "device": self.device}


@pytest.fixture
def colours() -> type[ColourSegmenter]:
    return ColourSegmenter


def photograph(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise of 40 x 60 pixels with a yellow disc, each in a place of its own."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:40, :60]
    disc = (rows - rng.integers(12, 28)) ** 2 + (columns - rng.integers(12, 48)) ** 2 < 100
    image = rng.integers(0, 80, (40, 60, 3))
    image[disc] = [220, 200, 40]
    return image.astype(np.uint8), disc.astype(np.uint8)


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    """Three supports of one class, "disc", and four queries."""
    supports, queries = [], []
    for number in range(3):
        image, mask = photograph(number)
        supports.append(Support(tmp_path / f"s{number}.png", image, mask, "mask", "", None))
    for number in range(4):
        image, _ = photograph(10 + number)
        queries.append(Photograph(tmp_path / f"q{number}.png", image))
    return Workload({"disc": supports}, queries)


@pytest.fixture
def quick() -> Scope:
    """Some samples of everything, in no time."""
    return Scope(shots=(1, 2), duration=0.0, min_samples=3, memory=False)


@pytest.fixture
def measured(
    colours: type[ColourSegmenter], workload: Workload, quick: Scope
) -> Callable[..., BenchmarkResult]:
    """A benchmark of named segmenters; the arguments are theirs, then fields of the scope."""

    def measured(
        segmenters: Mapping[str, dict[str, Any]], reference: str | None = None, **changes: Any
    ) -> BenchmarkResult:
        contenders = [
            Contender(name, lambda options=options: colours(**options))
            for name, options in segmenters.items()
        ]
        return run(
            contenders,
            workload,
            replace(quick, **changes),
            reference,
            parity={"end_to_end": {"changed_pixels": 0.00123, "passed": True}},
            command="arnet bench horse.bundle",
        )

    return measured
