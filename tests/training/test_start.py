"""A training that starts from a checkpoint."""

import pytest
import torch

from arnet.checkpoint import load_checkpoint, save_checkpoint
from arnet.runtime.errors import CheckpointError, ConfigError


@pytest.fixture
def start(make_model, make_config, tmp_path):
    """A checkpoint that was trained on discs and rings."""
    model = make_model()
    with torch.no_grad():
        model.mpm[0].conv3.bias.fill_(0.7)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, model, make_config(), {"trained_classes": ["disc", "ring"]})
    return path


def test_its_weights_are_taken(make_trainer, start, tmp_path):
    trainer = make_trainer(tmp_path / "run", f"train.init={start}", "train.seed=1")
    expected = load_checkpoint(start).model.state_dict()
    found = trainer.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert trainer.reporter.messages[0].startswith("training on")  # nothing of the weights


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("output_stride=16", "model.backbone.output_stride=8"),
        ("layers=[layer3]", '\'model.backbone.layers=["layer2", "layer3"]\''),
        ("name=resnet50", "model.backbone.name=resnet18"),
    ],
)
def test_another_backbone_is_refused(make_trainer, start, tmp_path, override, said):
    """Also where the weights would fit."""
    with pytest.raises(ConfigError, match=f"{override.partition('=')[0]} differ") as caught:
        make_trainer(tmp_path / "run", f"train.init={start}", f"model.backbone.{override}")
    assert said in caught.value.hint


def test_what_else_of_the_model_differs_is_told(make_trainer, start, tmp_path):
    overrides = ("model.detach_mask=false", "model.dropout=0.1", "model.fusion=attention")
    trainer = make_trainer(tmp_path / "run", f"train.init={start}", *overrides)
    told, fusion, *_ = trainer.reporter.messages
    assert all(key in told for key in ("model.detach_mask", "model.dropout", "model.fusion"))
    assert "another fusion" in fusion


def test_a_cmm_with_another_start_is_trained_anew(make_trainer, start, tmp_path):
    trainer = make_trainer(tmp_path / "run", f"train.init={start}", "model.cmm_start=mean")
    told, fusion, *_ = trainer.reporter.messages
    assert "model.cmm_start" in told and "trained anew" in fusion
    expected = load_checkpoint(start).model.state_dict()
    found = trainer.model.state_dict()
    other = {name for name in expected if not torch.equal(expected[name], found[name])}
    assert other and all(name.startswith("cmm.") for name in other)
    assert not found["cmm.blocks.0.forget.weight"].any(), "as cmm_start says, not at random"


def test_another_width_is_another_architecture(make_trainer, start, tmp_path):
    with pytest.raises(CheckpointError, match="another architecture"):
        make_trainer(tmp_path / "run", f"train.init={start}", "model.channels=4")


def test_its_classes_stay_known(make_trainer, start, tmp_path):
    """Also where the training was resumed, and the first checkpoint is gone."""
    out, expected = tmp_path / "run", ["disc", "ring", "square", "bar"]
    make_trainer(out, f"train.init={start}").run()
    assert load_checkpoint(out / "checkpoint.safetensors").info["trained_classes"] == expected
    start.unlink()
    resumed = make_trainer(out, resume=True)
    assert resumed._info(resumed.start)["trained_classes"] == expected


def test_resuming_from_another_checkpoint_is_refused(
    make_trainer, make_model, make_config, start, tmp_path
):
    """The configuration and all later checkpoints would say that it began there."""
    out, other, once = tmp_path / "run", tmp_path / "other", "train.stages=[{iterations: 1}]"
    make_trainer(out, f"train.init={start}", once).run()
    save_checkpoint(other, make_model(), make_config(), {})
    with pytest.raises(ConfigError, match=r"did not start from .*other") as caught:
        make_trainer(out, f"train.init={other}", once, resume=True)
    assert "--init" in caught.value.hint
    assert load_checkpoint(out / "checkpoint.safetensors").config.train.init == str(start)
    moved = start.rename(tmp_path / "moved")
    make_trainer(out, f"train.init={moved}", once, resume=True)
    make_trainer(out, f"train.init={start}", once, resume=True)  # it is gone
