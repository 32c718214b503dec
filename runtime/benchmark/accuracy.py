"""Whether the contenders still answer alike, and how well, on the photographs at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.benchmark.workload import FEWEST_QUERIES, Workload
from arnet.runtime.learning import learn_class
from arnet.runtime.segmentation import FewShotSegmenter
from arnet.runtime.supports import Support

MOST_SHOTS = 5
"""Supports of a case, where there are more; the five that follow in the folder."""

MOST_PHOTOGRAPHS = 32
"""Annotated photographs of a class that are left out in turn, where there are more."""

IGNORED = 255


@dataclass(frozen=True)
class Case:
    """One photograph to segment with one class.

    Attributes:
        label: name of the class.
        supports: what is learnt.
        image: the query, (H, W, 3) uint8.
        truth: its mask, (H, W) 0, 1 or 255; None where it is not known.
    """

    label: str
    supports: list[Support]
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None


@dataclass
class Accuracy:
    """How a contender did.

    Attributes:
        annotated: photographs with a known mask that were left out in turn.
        compared: photographs on which it was compared with the reference.
        pixels: pixels of those.
        changed: pixels that belong to the class by one and not by the other.
        largest_difference: of the foreground probabilities, 0..1.
        counts: pixels in the intersection and the union with the known mask, by class.
    """

    annotated: int = 0
    compared: int = 0
    pixels: int = 0
    changed: int = 0
    largest_difference: float = 0.0
    counts: dict[str, list[int]] = field(default_factory=dict)

    def mean_iou(self) -> float | None:
        """Mean over the classes of summed intersection over summed union, in percent."""
        ratios = [100 * both / either for both, either in self.counts.values() if either]
        return sum(ratios) / len(ratios) if ratios else None

    def changed_percent(self) -> float | None:
        """Changed pixels in percent; None without a reference."""
        return 100 * self.changed / self.pixels if self.pixels else None


def cases(workload: Workload, shots: int | None = None) -> list[Case]:
    """What accuracy is measured on.

    Every annotated photograph is left out in turn and segmented with the others of its class, if
    there are at least two; then the query photographs, whose masks nobody knows, with the first
    class. Of noise no mask is known.

    Args:
        workload: the photographs.
        shots: the number of supports, for a model that takes no other; repeated if too few.
    """
    found = []
    for label, members in workload.supports.items():
        count = min(len(members), MOST_PHOTOGRAPHS)
        for left_out in (i * len(members) // count for i in range(count)):
            others = [*members[left_out + 1 :], *members[:left_out]]
            if others and not workload.synthetic:
                query = members[left_out]
                found.append(Case(label, _shots(others, shots), query.image, query.mask))
    label, members = next(iter(workload.supports.items()))
    found += [
        Case(label, _shots(members, shots), query.image, None)
        for query in workload.queries[:FEWEST_QUERIES]
    ]
    return found


def compare(
    segmenters: Mapping[str, FewShotSegmenter[Any]],
    cases: list[Case],
    reference: str | None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Accuracy]:
    """Let every contender answer every case.

    Args:
        segmenters: the contenders by name.
        cases: what they answer.
        reference: name of the one that the others are compared with; None for no comparison.
        progress: called with the number of cases that are done.

    Returns:
        The accuracy of each; that of the reference has no changed pixels, by definition.
    """
    found = {name: Accuracy() for name in segmenters}
    for done, case in enumerate(cases, start=1):
        answers = dict(_answers(segmenters, case))
        for name, (mask, probability) in answers.items():
            if case.truth is not None:
                _score(found[name], case.label, mask, case.truth)
            if reference is not None and name != reference:
                expected, expected_probability = answers[reference]
                accuracy = found[name]
                accuracy.compared += 1
                accuracy.pixels += mask.size
                accuracy.changed += int((mask != expected).sum())
                difference = np.abs(probability - expected_probability)
                # What is no number differs as much as can be; a maximum would pass over it.
                largest = float(np.nan_to_num(difference, nan=1.0).max())
                accuracy.largest_difference = max(accuracy.largest_difference, largest)
        progress(done)
    return found


def _answers(
    segmenters: Mapping[str, FewShotSegmenter[Any]], case: Case
) -> Iterator[tuple[str, tuple[NDArray[np.bool_], NDArray[np.float32]]]]:
    for name, segmenter in segmenters.items():
        segmentation = segmenter.segment(
            case.image, {case.label: learn_class(segmenter, case.supports)}
        )
        (found,) = segmentation.classes.values()
        yield name, (segmentation.labels() == 1, found.probability)


def _score(
    accuracy: Accuracy, label: str, mask: NDArray[np.bool_], truth: NDArray[np.uint8]
) -> None:
    known = truth != IGNORED
    predicted, expected = mask[known], truth[known] == 1
    counts = accuracy.counts.setdefault(label, [0, 0])
    counts[0] += int((predicted & expected).sum())
    counts[1] += int((predicted | expected).sum())
    accuracy.annotated += 1


def _shots(members: list[Support], shots: int | None) -> list[Support]:
    return list(islice(cycle(members), min(len(members), MOST_SHOTS) if shots is None else shots))
