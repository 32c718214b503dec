import numpy as np
import pytest
import torch

from arnet.checkpoint import Checkpoint, save_checkpoint
from arnet.data.transforms import prepare
from arnet.runtime.errors import (
    AnnotationError,
    CheckpointError,
    ConfigError,
    ImageError,
    StateError,
)
from arnet.segmenter import TorchSegmenter


@pytest.fixture
def segmenter(make_model, make_config):
    checkpoint = Checkpoint(make_model().eval(), make_config(), {}, "abc")
    return TorchSegmenter(checkpoint, "tiny", "cpu", 65)


@pytest.fixture
def photographs():
    """Three photographs of different sizes and a mask of each."""
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        for height, width in ((40, 60), (70, 50), (65, 65))
    ]
    masks = [np.zeros(image.shape[:2], np.uint8) for image in images]
    masks[0][5:30, 10:40] = masks[1][20:60, 5:30] = masks[2][30:, :20] = 1
    return images, masks


QUERY = np.random.default_rng(1).integers(0, 255, (37, 83, 3)).astype(np.uint8)


def test_masks_have_the_size_of_the_photograph(segmenter, photographs):
    images, masks = photographs
    states = {"a": segmenter.learn(images, masks), "b": segmenter.learn(images[:1], masks[:1])}
    found = segmenter.segment(QUERY, states)
    assert list(found.classes) == ["a", "b"]
    for masks_of, shots in ((found.classes["a"], 3), (found.classes["b"], 1)):
        for mask in (masks_of.probability, masks_of.first):
            assert mask.shape == (37, 83) and mask.dtype == np.float32
            assert mask.min() >= 0 and mask.max() <= 1
        assert masks_of.supports.shape == (shots, 9, 9)
    assert found.labels().shape == (37, 83)
    assert set(found.seconds) == {"prepare", "model"} and min(found.seconds.values()) > 0


def test_what_is_not_wanted_is_left_out(segmenter, photographs):
    images, masks = photographs
    state = segmenter.learn(images, masks)
    whole = segmenter.segment(QUERY, {"a": state}).classes["a"]
    found = segmenter.segment(QUERY, {"a": state}, parts=False).classes["a"]
    assert found.first is None and found.supports is None
    assert np.array_equal(found.probability, whole.probability)


def test_the_probability_is_the_softmax_of_the_model(segmenter, photographs):
    images, masks = photographs
    state = segmenter.learn(images, masks)
    found = segmenter.segment(QUERY, {"a": state}).classes["a"]
    query, _ = prepare(QUERY, np.zeros((37, 83), np.uint8), 65)
    with torch.no_grad():
        s = segmenter.model.segment(query[None], {"a": state})["a"].s
    np.testing.assert_allclose(found.supports, s.softmax(dim=2)[0, :, 1].numpy(), atol=1e-6)


def test_supports_one_by_one_are_supports_together(segmenter, photographs):
    images, masks = photographs
    together = segmenter.learn(images, masks)
    added = segmenter.learn(images[:1], masks[:1])
    for image, mask in zip(images[1:], masks[1:], strict=True):
        added = added.add(segmenter.learn([image], [mask]))
    fewer = segmenter.learn(images[:2], masks[:2])
    found = segmenter.segment(QUERY, {"together": together, "added": added, "fewer": fewer}).classes
    np.testing.assert_allclose(found["added"].probability, found["together"].probability, atol=1e-6)
    assert not np.allclose(found["fewer"].probability, found["together"].probability, atol=1e-6)


def test_the_backbone_runs_once_for_all_classes(segmenter, photographs):
    images, masks = photographs
    states = {name: segmenter.learn([images[n]], [masks[n]]) for n, name in enumerate("abc")}
    calls = []
    segmenter.model.backbone.register_forward_hook(lambda *_: calls.append(1))
    together = segmenter.segment(QUERY, states).classes
    assert len(calls) == 1
    for name, state in states.items():
        alone = segmenter.segment(QUERY, {name: state}).classes[name]
        assert np.array_equal(alone.probability, together[name].probability)
    assert not np.array_equal(together["a"].probability, together["b"].probability)


def test_unknown_pixels_guide_as_background(segmenter, photographs):
    images, masks = photographs
    unknown = np.where(masks[0] == 1, 1, 255).astype(np.uint8)
    states = [segmenter.learn([images[0]], [m]) for m in (masks[0], unknown, 1 - masks[0])]
    assert torch.equal(states[0].vectors, states[1].vectors)
    assert not torch.equal(states[0].vectors, states[2].vectors)


def test_a_model_without_its_first_parts(make_model, make_config, photographs):
    checkpoint = Checkpoint(make_model("without=[mpm1, mpm2]").eval(), make_config(), {}, "abc")
    segmenter = TorchSegmenter(checkpoint, "tiny", "cpu")
    images, masks = photographs
    found = segmenter.segment(QUERY, {"a": segmenter.learn(images, masks)}).classes["a"]
    assert found.first is None and found.supports is None
    assert found.probability.shape == (37, 83)


def test_supports_that_do_not_fit(segmenter, photographs):
    images, masks = photographs
    with pytest.raises(AnnotationError, match="3 images and 2 masks"):
        segmenter.learn(images, masks[:2])
    with pytest.raises(AnnotationError, match="0 images"):
        segmenter.learn([], [])
    with pytest.raises(AnnotationError, match=r"60x40 pixels has a mask of 50x70"):
        segmenter.learn(images[:1], masks[1:2])


@pytest.mark.parametrize(
    "image",
    [QUERY / 255, QUERY[..., 0], QUERY.astype(np.uint16), QUERY[:0], "photo.jpg", None],
    ids=["float", "grey", "16 bits", "empty", "name", "nothing"],
)
def test_a_query_of_another_type_or_shape(segmenter, photographs, image):
    images, masks = photographs
    state = segmenter.learn(images[:1], masks[:1])
    with pytest.raises(ImageError, match=r"an array uint8 \(height, width, 3\)"):
        segmenter.segment(image, {"a": state})


def test_no_state_and_what_is_none(segmenter):
    with pytest.raises(StateError, match="no class"):
        segmenter.segment(QUERY, {})
    with pytest.raises(StateError, match="a str is no state of a checkpoint"):
        segmenter.segment(QUERY, {"a": "a.npz"})


def test_an_object_of_which_the_model_would_see_nothing(segmenter):
    image, mask = np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), np.uint8)
    with pytest.raises(AnnotationError, match="support 1 of 1: no pixel of its mask is 1"):
        segmenter.learn([image], [mask])
    mask[3:6, 4:8] = 1  # between the centres of the first pixels of 65
    with pytest.raises(AnnotationError, match="of 4x3 pixels, in 400x300, vanishes at the 65x65"):
        segmenter.learn([image], [mask])
    mask[2, 3] = 1
    assert segmenter.learn([image], [mask]).masks.sum() > 0


def test_it_is_read_from_a_file_and_describes_itself(make_model, make_config, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, make_model(), make_config(), {})
    segmenter = TorchSegmenter.load(path, "cpu")
    described = segmenter.describe()
    assert described["name"] == "checkpoint.safetensors" and len(described["sha256"]) == 64
    assert (described["device"], described["input_size"]) == ("cpu", 65)
    assert TorchSegmenter.load(path, "cpu", 97).describe()["input_size"] == 97
    with pytest.raises(CheckpointError):
        TorchSegmenter.load(tmp_path / "absent.safetensors")
    with pytest.raises(ConfigError):
        TorchSegmenter.load(path, "abacus")
