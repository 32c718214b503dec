"""Photographs to measure on: real ones, repeated ones, noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.benchmark.workload import (
    MOST_QUERIES,
    Workload,
    read_workload,
    synthetic_workload,
)
from arnet.runtime.errors import AnnotationError, ConfigError, ImageError

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_photographs_are_read_with_their_annotations() -> None:
    workload = read_workload(EXAMPLES / "horse", str(EXAMPLES / "queries"))
    ((name, members),) = workload.supports.items()
    assert name == "horse"  # of the folder, since the masks carry no label
    assert [support.path.name for support in members] == [f"horse{n}.jpg" for n in range(1, 6)]
    assert [query.path.name for query in workload.queries][:2] == ["both.jpg", "cats.jpg"]
    assert not workload.synthetic


def test_too_few_supports_repeat_and_it_is_told(workload: Workload) -> None:
    (shots,) = workload.episode(5, 1).values()
    assert [support.path.stem for support in shots] == ["s0", "s1", "s2", "s0", "s1"]
    assert any("3 annotated photographs: supports repeat" in n for n in workload.notes([5], [1]))
    assert not any("repeat" in note for note in workload.notes([3], [1]))


def test_too_few_classes_are_learnt_again_under_other_names_and_it_is_told(workload) -> None:
    assert list(workload.episode(1, 3)) == ["disc", "disc 2", "disc 3"]
    assert any("same class is learnt again" in note for note in workload.notes([1], [3]))
    assert not any("class" in note for note in workload.notes([1], [1]))


def test_few_queries_are_told(workload: Workload) -> None:
    assert workload.notes([1], [1]) == ["4 query photographs; 16 say more"]


def test_of_many_queries_some_are_taken_from_everywhere(tmp_path: Path) -> None:
    for number in range(200):
        Image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(tmp_path / f"{number:03}.png")
    workload = read_workload(EXAMPLES / "horse", str(tmp_path))
    values = [int(query.image[0, 0, 0]) for query in workload.queries]
    assert len(values) == MOST_QUERIES
    assert values == sorted(set(values))
    assert values[-1] > 190


def test_noise_is_the_same_each_time_and_says_that_it_is_noise() -> None:
    first, second = (synthetic_workload(2, 3) for _ in range(2))
    assert [len(members) for members in first.supports.values()] == [2, 2, 2]
    for one, other in zip(first.queries, second.queries, strict=True):
        assert np.array_equal(one.image, other.image)
    assert not np.array_equal(first.queries[0].image, first.queries[1].image)
    assert all(s.mask.any() for members in first.supports.values() for s in members)
    assert first.notes([2], [3])[0].startswith("SYNTHETIC")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((EXAMPLES / "none", str(EXAMPLES / "queries")), AnnotationError, "does not exist"),
        ((EXAMPLES / "horse", "none/*.jpg"), ImageError, "matches no images"),
        ((None, "photos"), ConfigError, "there is no --support"),
        ((EXAMPLES / "horse", None), ConfigError, "there is no --query"),
        ((EXAMPLES / "horse", None, (1,), (1,), True), ConfigError, "in place of"),
    ],
)
def test_photographs_that_are_not_there_are_told(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        read_workload(*arguments)
