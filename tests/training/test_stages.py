"""What the stages of a training train, and how fast."""

import shutil

import pytest
import torch
from PIL import Image

from arnet.config import StageConfig
from arnet.data.folder import folder
from arnet.runtime.errors import ConfigError, DataError
from arnet.training.stages import build_optimizer, choose_trainable, learning_rate, place_stages


def moved(before, after):
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("{iterations: 2}", {"reduction", "mpm", "mrm"}),
        ("{iterations: 2, shots: [2, 2]}", {"reduction", "mpm", "mrm", "cmm"}),
        ("{iterations: 2, shots: [2, 2], trainable: fusion}", {"mrm", "cmm"}),
    ],
)
def test_a_stage_trains_its_parts_and_no_other(make_trainer, tmp_path, stage, expected):
    """Weights and running statistics; those of the backbone never."""
    trainer = make_trainer(tmp_path, f"train.stages=[{stage}]", "model.norm=batch")
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    assert moved(before, trainer.model.state_dict()) == expected


def test_a_stage_says_how_often_a_query_does_not_show_its_class(make_trainer, tmp_path):
    stages = "[{iterations: 4}, {iterations: 4, absent: 1}, {iterations: 4, absent: 0}]"
    trainer = make_trainer(tmp_path, f"train.stages={stages}", "train.absent=0.5")
    shown = [
        [
            bool((labels == 1).any())
            for b in trainer._batches(s, s.start)
            for labels in b.query_labels
        ]
        for s in trainer.stages
    ]
    assert 0 < sum(shown[0]) < len(shown[0])
    assert not any(shown[1])
    assert all(shown[2])


def test_a_class_that_all_photographs_show_is_told(make_trainer, shapes, tmp_path):
    root = shutil.copytree(shapes, tmp_path / "one")
    (root / "classes.txt").write_text("thing")
    for path in (root / "masks").iterdir():
        Image.open(path).point(lambda value: int(value > 0)).save(path)
    trainer = make_trainer(tmp_path / "run", f"data.root={root}", "train.absent=0.5")
    trainer.run()
    assert any("all images show thing: train.absent" in m for m in trainer.reporter.messages)


def test_pseudo_classes_are_not_of_novel_ones(make_trainer, tmp_path):
    """They are regions of the photographs, whatever their masks hide."""
    held_out = "data.held_out=[disc]", "train.pseudo_classes=0.3"
    with pytest.raises(ConfigError, match="pseudo-classes may be about the novel") as caught:
        make_trainer(tmp_path / "background", *held_out)
    assert "data.novel=drop" in caught.value.hint
    make_trainer(tmp_path / "background", held_out[0])
    make_trainer(tmp_path / "drop", *held_out, "data.novel=drop")
    make_trainer(tmp_path / "all", held_out[1])


def test_shares_that_do_not_count_are_refused(make_config, shapes):
    def place(sampling, share):
        members = f"[{{name: a, kind: folder}}, {{name: b, kind: davis, share: {share}}}]"
        union = ("data.kind=union", f"data.members={members}", f"data.sampling={sampling}")
        return place_stages(make_config(*union), folder(shapes))

    assert place("class", 2) and place("image", 1)
    with pytest.raises(ConfigError, match="different shares"):
        place("image", 2)


def test_more_shots_than_images_are_told(make_trainer, tmp_path):
    with pytest.raises(DataError, match=r"no class .* has the 24 images"):
        make_trainer(tmp_path, "train.stages=[{iterations: 1, shots: [23, 23]}]")


def test_learning_rate_by_hand(make_config):
    stage = StageConfig(iterations=10, learning_rate=2.0)
    plain = make_config("train.power=0.9")
    assert learning_rate(plain.train, stage, 0) == 2
    assert learning_rate(plain.train, stage, 5) == pytest.approx(2 * 0.5**0.9)
    warm = make_config("train.power=0.9", "train.warmup=4")
    # The first of four warm iterations has a quarter of the rate, the fourth all of it.
    assert learning_rate(warm.train, stage, 0) == pytest.approx(0.5)
    assert learning_rate(warm.train, stage, 3) == pytest.approx(2 * 0.7**0.9)
    assert learning_rate(make_config("train.power=0").train, stage, 9) == 2


def test_optimizers(make_model, make_config):
    model = make_model()
    parameters = choose_trainable(model, "fusion")
    names = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert names == {"mrm", "cmm"}
    assert len(parameters) == sum(p.requires_grad for p in model.parameters())
    sgd = build_optimizer(make_config("train.momentum=0.5"), parameters, 0.1)
    assert sgd.defaults["momentum"] == 0.5 and sgd.defaults["weight_decay"] == 5e-4
    adamw = build_optimizer(make_config("train.optimizer=adamw"), parameters, 0.1)
    assert isinstance(adamw, torch.optim.AdamW)
    choose_trainable(model, "all")
    names = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert names == {"reduction", "mpm", "mrm", "cmm"}
