"""What a bundle is measured against gives the same masks, by other means."""

import shutil

import numpy as np
import pytest
import torch

from arnet.checkpoint import save_checkpoint
from arnet.config_file import load_config
from arnet.export.references import NAMES, contender
from arnet.modeling import ARNet
from arnet.runtime.errors import AnnotationError, CheckpointError, ConfigError
from arnet.segmenter import TorchSegmenter


@pytest.fixture(autouse=True)
def same_threads():
    """A reference may set the number of torch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def answers(segmenter, episodes):
    """Two classes, of two shots and of two others, in photographs of two sizes."""
    states = {
        name: segmenter.learn(episodes[number].images, episodes[number].masks)
        for name, number in (("square", 0), ("disc", 3))
    }
    return [segmenter.segment(episodes[number].query, states) for number in (0, 3)]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if "compile" in n else n for n in NAMES]
)
def test_a_reference_gives_the_masks_of_the_checkpoint(name, checkpoint_file, episodes) -> None:
    if "compile" in name and not (shutil.which("gcc") or shutil.which("clang")):
        pytest.skip("torch.compile needs a compiler")
    expected = answers(TorchSegmenter.load(checkpoint_file, "cpu"), episodes)
    segmenter = contender(name, checkpoint_file, threads=1)
    found = answers(segmenter, episodes)
    for ours, theirs, number in zip(found, expected, (0, 3), strict=True):
        assert list(ours.classes) == ["square", "disc"]
        assert all(spent >= 0 for spent in ours.seconds.values())
        for label, masks in theirs.classes.items():
            for kind in ("probability", "first", "supports"):
                a, b = getattr(ours.classes[label], kind), getattr(masks, kind)
                assert a.shape == b.shape and a.dtype == np.float32
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
            assert ours.classes[label].probability.shape == episodes[number].query.shape[:2]
        if name == "onnx-cached":
            kept = {"features": (2, 12, 9, 9), "small": (2, 1, 9, 9), "vectors": (2, 12)}
            state = segmenter.learn(episodes[0].images, episodes[0].masks)
            assert {key: value.shape for key, value in state.items()} == kept
        square, disc = (masks.probability for masks in theirs.classes.values())
        assert np.abs(square - disc).max() > 0.01  # the negative control


def test_they_differ_in_what_they_keep(checkpoint_file, episodes) -> None:
    """The whole model keeps photographs, the cached one features."""
    images, masks = episodes[0].images[:1], episodes[0].masks[:1]
    whole = contender("onnx-whole", checkpoint_file, threads=1)
    state = whole.learn(images, masks)
    assert not whole.caches_support
    assert {name: value.shape for name, value in state.items()} == {
        "images": (1, 3, 65, 65),
        "masks": (1, 65, 65),
    }
    cached = contender("onnx-cached", checkpoint_file, size=97, threads=1)
    assert cached.caches_support
    for segmenter, size in ((whole, 65), (cached, 97)):
        described = segmenter.describe()
        assert described["input_size"] == size and described["device"] == "cpu"
        assert described["engine_version"].startswith("onnxruntime ")
    assert [s.describe()["kind"] for s in (whole, cached)] == ["onnx-whole", "onnx-cached"]
    with pytest.raises(AnnotationError, match="1 images and 0 masks"):
        whole.learn(images, [])


def test_threads_are_set(checkpoint_file) -> None:
    contender("torch", checkpoint_file, threads=2)
    assert torch.get_num_threads() == 2


def test_what_is_wrong_is_named(checkpoint_file, tmp_path) -> None:
    with pytest.raises(ConfigError, match="no reference 'abacus'") as caught:
        contender("abacus", checkpoint_file)
    assert "onnx-whole" in caught.value.hint
    with pytest.raises(CheckpointError):
        contender("torch", tmp_path / "none.safetensors")


def test_a_model_without_a_part_has_no_drawn_reference(random_model, tmp_path) -> None:
    overrides = ["model.without=[mpm2]", "model.backbone.name=resnet18", "model.channels=12"]
    config = load_config(None, overrides)
    path = tmp_path / "part.safetensors"
    save_checkpoint(path, ARNet(config.model), config, {})
    for name in ("onnx-whole", "onnx-cached"):
        with pytest.raises(ConfigError, match="this model is without mpm2"):
            contender(name, path)
    assert contender("torch", path, size=65)
