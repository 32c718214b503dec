"""Photographs one after the other: nothing is lost, swapped or taken too early."""

from __future__ import annotations

import numpy as np
import pytest

from arnet.runtime.segmentation import ClassMasks, Segmentation
from arnet.runtime.streams import LabelMap, label_maps, one_ahead


def begin(seen):
    def begun(item):
        seen.append(f"begin {item}")

        def finish():
            seen.append(f"finish {item}")
            return item

        return finish

    return begun


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_item_comes_once_and_in_order(count) -> None:
    assert list(one_ahead(iter(range(count)), begin([]))) == list(range(count))


def test_the_next_is_begun_before_the_last_is_finished() -> None:
    seen: list[str] = []
    results = one_ahead(range(3), begin(seen))
    assert seen == []
    next(results)
    assert seen == ["begin 0", "begin 1", "finish 0"]
    next(results)
    assert seen[3:] == ["begin 2", "finish 1"]
    next(results)
    assert seen[5:] == ["finish 2"]


@pytest.mark.parametrize("fails", ["source", "begin"])
def test_what_was_begun_comes_before_an_error(fails) -> None:
    def source():
        yield from (0, 1)
        if fails == "source":
            raise OSError("the camera is gone")
        yield "bad"

    def start(item):
        if item == "bad":
            raise OSError("the camera is gone")
        return lambda: item

    results = one_ahead(source(), start)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="the camera is gone"):
        next(results)


class Plain:
    """A segmenter that finds its state where a photograph is as bright."""

    def segment(self, image, states, *, parts=True):
        masks = {
            name: ClassMasks((image[..., 0] == value).astype(np.float32), None, None)
            for name, value in states.items()
        }
        return Segmentation(masks, {"all": 1.0})


class Labelling(Plain):
    def label(self, images, states):
        return (LabelMap(np.full(image.shape[:2], 7, np.uint8), {}) for image in images)


def test_a_segmenter_that_only_segments_gives_label_maps() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[1] = 9
    (found,) = label_maps(Plain(), [image], {"dark": 0, "bright": 9})
    np.testing.assert_array_equal(found.labels, [[1] * 3, [2] * 3])
    assert found.seconds == {"all": 1.0}


def test_a_segmenter_that_labels_is_asked_for_that() -> None:
    (found,) = label_maps(Labelling(), [np.zeros((2, 3, 3), np.uint8)], {})
    assert (found.labels == 7).all()


def test_a_bundle_labels_what_it_segments(segmenter, learn, photograph) -> None:
    states = {"red": learn(segmenter, (250, 20, 20)), "blue": learn(segmenter, (20, 20, 250))}
    images = [photograph((250, 20, 20))[0], photograph((20, 20, 250), (30, 10))[0]]
    for found, image in zip(label_maps(segmenter, images, states), images, strict=True):
        np.testing.assert_array_equal(found.labels, segmenter.segment(image, states).labels())
        assert set(np.unique(found.labels)) > {0}
        assert "decode" in found.seconds
