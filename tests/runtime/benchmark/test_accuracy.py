"""Masks that are alike, masks that are not, and known ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from arnet.runtime.benchmark.accuracy import MOST_SHOTS, cases, compare
from arnet.runtime.benchmark.workload import Workload, synthetic_workload
from arnet.runtime.segmentation import ClassMasks, Segmentation


def test_every_annotated_photograph_is_left_out_in_turn(workload: Workload) -> None:
    found = [case for case in cases(workload) if case.truth is not None]
    names = [[support.path.name for support in case.supports] for case in found]
    assert names == [["s1.png", "s2.png"], ["s2.png", "s0.png"], ["s0.png", "s1.png"]]
    for case, support in zip(found, workload.supports["disc"], strict=True):
        assert case.image is support.image
        assert case.truth is support.mask


def test_queries_follow_whose_masks_nobody_knows(workload: Workload) -> None:
    found = [case for case in cases(workload) if case.truth is None]
    assert [case.image for case in found] == [query.image for query in workload.queries]


def test_one_annotated_photograph_has_no_other_to_learn_from(workload: Workload) -> None:
    alone = replace(workload, supports={"disc": workload.supports["disc"][:1]})
    assert all(case.truth is None for case in cases(alone))


def test_of_noise_no_mask_is_known() -> None:
    assert all(case.truth is None for case in cases(synthetic_workload(3, 1)))


def test_many_supports_make_no_more_work_and_a_fixed_number_is_kept(workload: Workload) -> None:
    many = replace(workload, supports={"disc": workload.supports["disc"] * 4})
    assert {len(case.supports) for case in cases(many)} == {MOST_SHOTS}
    assert {len(case.supports) for case in cases(workload, shots=7)} == {7}


def test_the_same_contender_twice_changes_nothing(colours, workload: Workload) -> None:
    found = compare({"a": colours(), "b": colours()}, cases(workload), "a")
    assert found["b"].compared == 7
    assert found["b"].changed == 0
    assert found["b"].largest_difference == 0.0
    assert found["a"].compared == 0
    assert found["a"].mean_iou() == found["b"].mean_iou() == pytest.approx(100.0)


def test_a_contender_with_swapped_masks_is_found_out(colours, workload: Workload) -> None:
    """The negative control: thing and background changed places."""
    found = compare({"a": colours(), "b": colours(swapped=True)}, cases(workload), "a")
    assert found["b"].changed_percent() == 100.0
    assert found["b"].largest_difference > 0.9
    assert found["b"].mean_iou() == pytest.approx(0.0, abs=1.0)


class Painter:
    """Answers with a given probability everywhere in a given part."""

    def __init__(self, part: tuple[slice, slice], value: float = 1.0) -> None:
        self.part, self.value = part, value

    def learn(self, images, masks) -> None:
        return None

    def segment(self, image, states) -> Segmentation:
        probability = np.zeros(image.shape[:2], np.float32)
        probability[self.part] = self.value
        return Segmentation({name: ClassMasks(probability, None, None) for name in states}, {})

    def describe(self) -> dict[str, object]:
        return {}


def squares(workload: Workload, *masks: np.ndarray) -> Workload:
    """The workload with these masks in place of its own."""
    members = workload.supports["disc"][: len(masks)]
    changed = [replace(s, mask=mask) for s, mask in zip(members, masks, strict=True)]
    return replace(workload, supports={"disc": changed}, queries=workload.queries[:1])


def test_golden_iou_and_changed_pixels(workload: Workload) -> None:
    half, quarter = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    half[:20], quarter[:10] = 1, 1
    painted = squares(workload, half, quarter)
    left = Painter((slice(None), slice(0, 30)))
    right = Painter((slice(None), slice(15, 60)), 0.75)
    found = compare({"left": left, "right": right}, cases(painted), "left")
    # Intersections 600 and 300, unions 1800 and 1500: summed first, divided then.
    assert found["left"].mean_iou() == pytest.approx(100 * 900 / 3300)
    assert found["left"].annotated == 2
    assert found["right"].changed_percent() == pytest.approx(75.0)
    assert found["right"].largest_difference == 1.0
    assert found["right"].compared == 3


def test_ignored_pixels_do_not_count(workload: Workload) -> None:
    mask = np.full((40, 60), 255, np.uint8)
    mask[:, :10] = 1
    (found,) = compare(
        {"a": Painter((slice(None), slice(0, 30)))}, cases(squares(workload, mask, mask)), None
    ).values()
    assert found.mean_iou() == 100.0


def test_what_is_no_number_differs_as_much_as_can_be(workload: Workload) -> None:
    part = (slice(0, 1), slice(0, 1))
    found = compare({"a": Painter(part), "b": Painter(part, np.nan)}, cases(workload), "a")
    assert found["b"].largest_difference == 1.0


def test_without_a_reference_nothing_is_compared(colours, workload: Workload) -> None:
    (found,) = compare({"a": colours()}, cases(workload), None).values()
    assert (found.compared, found.changed_percent()) == (0, None)
