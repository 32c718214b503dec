"""A training whose numbers are not finite."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file

from arnet.runtime.errors import TrainingError
from arnet.training import optimization


def test_a_loss_that_is_not_finite_stops_the_training(make_trainer, tmp_path):
    trainer = make_trainer(tmp_path, "train.save_every=1")
    calls = itertools.count(1)
    trainer.model.mrm.aspp.classify.register_forward_hook(
        lambda _, __, logits: logits * (math.nan if next(calls) == 3 else 1)
    )
    with pytest.raises(TrainingError, match="the loss is nan") as caught:
        trainer.run()
    assert "learning_rate" in caught.value.hint
    assert max(trainer.reporter.losses) == 2
    assert all(
        value.isfinite().all() for value in load_file(tmp_path / "checkpoint.safetensors").values()
    )
    assert make_trainer(tmp_path, "train.save_every=1", resume=True).run().iteration == 4


@pytest.mark.parametrize("lost", [range(3, 6), range(3, 99)], ids=["three steps", "all"])
def test_fp16_may_lose_some_steps_but_not_all(make_trainer, tmp_path, monkeypatch, lost):
    """The scaler of fp16, without its GPU: it skips a step whose gradient overflows."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler(device))
    monkeypatch.setattr(optimization, "MOST_SKIPPED", 4)
    trainer = make_trainer(tmp_path, "train.stages=[{iterations: 9}]")
    calls = itertools.count(1)
    trainer.model.mrm.aspp.classify.register_forward_hook(
        lambda _, __, logits: logits * (math.inf if next(calls) in lost else 1)
    )
    if 9 not in lost:
        assert trainer.run().iteration == 9
    else:
        with pytest.raises(TrainingError, match="diverged"):
            trainer.run()
        assert max(trainer.reporter.losses) == 6
