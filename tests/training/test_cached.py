"""Trainings on cached features."""

import shutil

import pytest
import torch
from PIL import Image

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


def test_photographs_that_show_nothing_are_cached_where_they_are_queries(
    make_trainer, shapes, tmp_path
):
    root = shutil.copytree(shapes, tmp_path / "some")
    for name in ("p01", "p02"):
        mask = Image.open(root / "masks" / f"{name}.png")
        mask.point(lambda value: 0).save(root / "masks" / f"{name}.png")
    settings = f"data.root={root}", f"data.cache={tmp_path / 'cache'}"
    plain = make_trainer(tmp_path / "plain", *settings)
    assert plain.reporter.cached[-1] == (22, 22)
    assert "left out 2 photographs, their masks mark nothing: p01, p02" in plain.reporter.messages
    stage = "train.stages=[{iterations: 2, absent: 1}]"
    trainer = make_trainer(tmp_path / "absent", *settings, stage)
    assert trainer.reporter.cached[-1] == (2, 2)
    told = "\n".join(trainer.reporter.messages)
    assert "2 photographs that show nothing: queries for train.absent" in told
    assert "left out" not in told and "features of 24 photographs" in told
    drawn = {trainer._episodes(trainer.stages[0]).draw(n).query for n in range(100)}
    assert {"p01", "p02"} < drawn
    trainer.run()


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
