"""Two classes in one photograph: what is compared, and what shows that they are mixed up."""

from types import SimpleNamespace

import pytest

from arnet.checkpoint import Checkpoint
from arnet.config_file import load_config
from arnet.export.together import changed_labels, takes_two
from arnet.segmenter import TorchSegmenter


@pytest.mark.parametrize("chosen", [slice(None), slice(0, 3), slice(0, 1)], ids=str)
def test_classes_that_are_swapped_are_told(checkpoint_file, episodes, chosen) -> None:
    """Whether there are two classes or one, whose surroundings are the other then."""
    model, other = (TorchSegmenter.load(checkpoint_file, "cpu") for _ in range(2))
    assert changed_labels(model, other, episodes[chosen]) == 0
    segment = other.model.segment

    def swapped(query, states):
        found = segment(query, states)
        return dict(zip(found, reversed(found.values()), strict=True))

    other.model.segment = swapped
    assert changed_labels(model, other, episodes[chosen]) > 0.01


def test_classes_that_do_not_compete_are_told(random_model, episodes) -> None:
    overrides = ("model.prior=20", "data.image_size=65")

    def make() -> TorchSegmenter:
        checkpoint = Checkpoint(random_model(*overrides), load_config(None, [*overrides]), {}, "")
        return TorchSegmenter(checkpoint, "tiny", "cpu")

    model, other = make(), make()
    assert changed_labels(model, other, episodes) == 0
    other.model._compete = lambda query, states, found: found
    assert changed_labels(model, other, episodes) > 0.01


def test_the_classes_and_queries(checkpoint_file, episodes, monkeypatch) -> None:
    model, asked = TorchSegmenter.load(checkpoint_file, "cpu"), []
    segment = TorchSegmenter.segment

    def recorded(self, image, states):
        asked.append((image, {name: state.shots for name, state in states.items()}))
        return segment(self, image, states)

    monkeypatch.setattr(TorchSegmenter, "segment", recorded)
    changed_labels(model, model, episodes)
    assert [states for _, states in asked] == [{"square": 2, "disc": 1}] * 4
    queries = [episodes[number].query for number in (0, 0, 3, 3)]
    assert all(image is query for (image, _), query in zip(asked, queries, strict=True))
    asked.clear()
    changed_labels(model, model, episodes[:3])
    assert [states for _, states in asked] == [{"square": 2, "around square": 1}] * 4


def test_a_bundle_that_takes_one_class_is_not_asked_for_two() -> None:
    def manifest(together: bool, *most: int) -> SimpleNamespace:
        plans = [SimpleNamespace(classes=(1, 1, classes)) for classes in most]
        return SimpleNamespace(classes_together=together, plans=plans)

    assert takes_two(manifest(True)) and takes_two(manifest(True, 2, 4))
    assert not takes_two(manifest(False)) and not takes_two(manifest(True, 4, 1))
