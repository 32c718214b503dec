"""Trainings on cached features."""

import pytest
import torch

from arnet.checkpoint import save_checkpoint


def test_training_with_the_cache_is_as_without(make_trainer, tmp_path):
    """On plain views; the cache's features are rounded to bfloat16, so its loss is so too."""
    plain = ("data.augment.flip=0", "data.augment.scale=0", "data.augment.rotate=0",
             "data.augment.color=0")  # fmt: skip
    losses = []
    for more in ((), (f"data.cache={tmp_path / 'cache'}",), ("data.augment.flip=1",)):
        trainer = make_trainer(tmp_path / str(len(losses)), *plain, *more)
        trainer.run()
        losses.append([loss["total"] for loss in trainer.reporter.losses.values()])
    uncached, cached, flipped = losses
    assert uncached == pytest.approx(cached, rel=0.01) and uncached != cached
    assert uncached != pytest.approx(flipped, rel=1e-4)


def test_a_second_training_computes_nothing_anew(make_trainer, tmp_path):
    cache = f"data.cache={tmp_path / 'cache'}"
    assert make_trainer(tmp_path / "a", cache).reporter.cached[-1] == (24, 24)
    assert make_trainer(tmp_path / "b", cache).reporter.cached[-1] == (0, 0)


def test_a_resumed_training_keeps_the_backbone_it_started_with(
    make_trainer, make_model, make_config, tmp_path
):
    """The features that it goes on with are of the state's backbone, whatever the weights are."""
    model = make_model()
    start = tmp_path / "start.safetensors"
    with torch.no_grad():
        model.backbone.conv1.weight.mul_(2)
    save_checkpoint(start, model, make_config(), {})
    cache = f"data.cache={tmp_path / 'cache'}"
    settings = cache, f"train.init={start}"
    whole = make_trainer(tmp_path / "whole", *settings)
    folder = whole.source.folder
    whole.run()
    resumed = make_trainer(tmp_path / "whole", *settings, resume=True)
    assert resumed.source.folder == folder
    # Negative control: another start has another backbone, and so another cache.
    assert make_trainer(tmp_path / "other", cache).source.folder != folder
