import math
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from arnet.checkpoint import load_checkpoint
from arnet.data import EvaluationEpisodes
from arnet.evaluation.encoder import Encoder
from arnet.evaluation.evaluator import evaluate
from arnet.evaluation.predictors import ARNetPredictor
from arnet.runtime.errors import CheckpointError, ConfigError, DataError
from arnet.training.state import SavedState


def weights(out, name="checkpoint.safetensors"):
    return load_file(out / name)


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def test_loss_falls_and_iou_rises(make_trainer, tmp_path, read_log):
    """Red squares, green discs and blue bars, learned from a frozen backbone without training."""
    trainer = make_trainer(
        tmp_path, "data.image_size=65", "model.channels=16", "train.optimizer=adamw",
        f"data.cache={tmp_path / 'cache'}",
        "train.stages=[{iterations: 250, learning_rate: 0.01}]", "train.batch_size=6",
        "data.augment.scale=0", "data.augment.rotate=0",
        "train.validate_every=250", "train.validate_episodes=20",
    )  # fmt: skip
    dataset, source = trainer.validation
    episodes = EvaluationEpisodes(dataset, None, 1, 20)
    before = evaluate(ARNetPredictor(Encoder(trainer.model, source)), dataset, episodes)
    trainer.run()
    losses = [line["total"] for line in read_log(tmp_path)]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    (validation,) = read_log(tmp_path, "validation")
    after = evaluate(ARNetPredictor(Encoder(trainer.model, source)), dataset, episodes)
    for name in ("q1", "s", "q2"):
        assert after.meters[name].mean_iou() > before.meters[name].mean_iou() + 20, name
        assert validation[name] == pytest.approx(after.meters[name].mean_iou(), abs=15)
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert best.info["best_validation_miou"] == validation["q2"]
    assert best.info["trained_classes"] == ["square", "disc", "bar"]


STAGES = (
    "train.stages=[{iterations: 4, learning_rate: 0.01},"
    " {iterations: 4, shots: [1, 2], learning_rate: 0.01, trainable: fusion}]"
)
HARD_CASES = {
    "in the first stage": (4, ("train.optimizer=sgd",)),
    "after the first stage": (5, ("train.optimizer=adamw",)),
    "sgd in the second stage": (7, ("train.optimizer=sgd",)),
    "adamw in the second stage": (7, ("train.optimizer=adamw",)),
}
STATEFUL = (
    "model.dropout=0.3", "train.accumulate=2", "train.save_every=3", "train.validate_every=2",
    "train.validate_episodes=2",
)  # fmt: skip


def test_a_killed_run_resumes_bit_for_bit(make_trainer, start_training, tmp_path, read_log):
    """SIGKILL after the step at which the state is oldest; the rest is as if nothing had been."""
    killed = {
        name: start_training(tmp_path / name, STAGES, *STATEFUL, *more, kill_at=at)
        for name, (at, more) in HARD_CASES.items()
    }
    whole = {}
    for optimizer in ("sgd", "adamw"):
        whole[optimizer] = tmp_path / optimizer
        make_trainer(
            whole[optimizer], STAGES, *STATEFUL, f"train.optimizer={optimizer}"
        ).run()  # fmt: skip
    for name, (at, more) in HARD_CASES.items():
        process, out = killed[name], tmp_path / name
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors
        assert [line["iteration"] for line in read_log(out)] == list(range(1, at + 1))
        trainer = make_trainer(out, STAGES, *STATEFUL, *more, resume=True)
        position = trainer.run()
        first = min(trainer.reporter.losses)
        assert at - 3 < first <= at, "it loses at most save_every iterations"
        reference = whole[more[0].partition("=")[2]]
        for file in ("checkpoint.safetensors", "best.safetensors"):
            expected, found = weights(reference, file), weights(out, file)
            assert all(torch.equal(expected[key], found[key]) for key in expected), (name, file)
        states = [weights(run, "state.safetensors") for run in (reference, out)]
        assert largest_difference(*states) == 0, "the optimiser too"
        for kind in ("train", "validation"):
            assert read_log(out, kind) == read_log(reference, kind), "no line is lost or twice"
        assert position.iteration == 8


def test_what_resuming_restores_matters(make_trainer, tmp_path, monkeypatch):
    """Negative control: without the optimiser's momentum the same resumption ends elsewhere."""

    class StoppedError(Exception):
        pass

    def run(name, forget):
        out = tmp_path / name
        trainer = make_trainer(out, "train.save_every=2")
        step = trainer.reporter.step

        def stop(iteration, total, losses):
            step(iteration, total, losses)
            if iteration == 3:
                raise StoppedError

        trainer.reporter.step = stop
        with pytest.raises(StoppedError):
            trainer.run()
        if forget:
            monkeypatch.setattr(SavedState, "restore_optimizer", lambda *_: None)
        make_trainer(out, "train.save_every=2", resume=True).run()
        return weights(out)

    make_trainer(tmp_path / "whole", "train.save_every=2").run()
    whole = weights(tmp_path / "whole")
    assert largest_difference(whole, run("resumed", forget=False)) == 0
    assert largest_difference(whole, run("forgotten", forget=True)) > 0


def test_a_finished_run_resumes_to_nothing(make_trainer, tmp_path, read_log):
    make_trainer(tmp_path).run()
    before = weights(tmp_path)
    trainer = make_trainer(tmp_path, resume=True)
    assert trainer.run().iteration == 4
    assert not trainer.reporter.losses
    assert largest_difference(before, weights(tmp_path)) == 0
    assert len(read_log(tmp_path)) == 4


def test_a_folder_with_a_training_is_never_overwritten(make_trainer, tmp_path):
    make_trainer(tmp_path).run()
    before = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="already holds a training") as caught:
        make_trainer(tmp_path).run()
    assert "--resume" in caught.value.hint
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_what_is_not_of_this_training_is_not_replaced(make_trainer, tmp_path):
    for name in ("config.yaml", "checkpoint.safetensors", "best.safetensors"):
        path = tmp_path / name / name
        path.parent.mkdir()
        path.write_text("train: {seed: 0}  # mine")
        for resume in (False, True):
            with pytest.raises(ConfigError, match=f"holds {name}") as caught:
                make_trainer(path.parent, resume=resume)
            assert str(path) in caught.value.hint
        assert path.read_text() == "train: {seed: 0}  # mine"


def test_a_run_killed_before_its_first_save_starts_again(make_trainer, tmp_path):
    make_trainer(tmp_path)
    (tmp_path / "best.safetensors").touch()  # validated before it was saved
    make_trainer(tmp_path)
    make_trainer(tmp_path, resume=True)
    with pytest.raises(ConfigError, match=r"best\.safetensors"):
        make_trainer(tmp_path, "train.seed=1", resume=True)
    (tmp_path / "checkpoint.safetensors").touch()
    with pytest.raises(ConfigError, match=r"checkpoint\.safetensors"):
        make_trainer(tmp_path)


def test_masks_as_those_of_infer_are_trained_on_and_told(make_trainer, shapes, tmp_path):
    root = shutil.copytree(shapes, tmp_path / "one")
    (root / "classes.txt").write_text("thing")
    for path in (root / "masks").iterdir():
        shown = np.array(Image.open(path)) > 0
        Image.fromarray((255 * shown).astype(np.uint8)).save(path)
    trainer = make_trainer(tmp_path / "run", f"data.root={root}")
    assert len(trainer.dataset.pairs) == 24
    told, *_ = trainer.reporter.messages
    assert "255" in told and "taken as thing" in told


def test_resuming_needs_the_same_configuration(make_trainer, tmp_path):
    make_trainer(tmp_path).run()
    with pytest.raises(ConfigError, match=r"train\.weight_decay differ"):
        make_trainer(tmp_path, "train.weight_decay=0.1", resume=True).run()
    make_trainer(tmp_path, "train.workers=0", "train.backbone_weights=random", resume=True).run()


def test_resuming_where_there_is_nothing_starts(make_trainer, tmp_path):
    assert make_trainer(tmp_path, resume=True).run().iteration == 4


def test_a_damaged_state_is_told(make_trainer, tmp_path):
    make_trainer(tmp_path).run()
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        make_trainer(tmp_path, resume=True).run()


def test_the_same_seed_is_the_same_training(make_trainer, tmp_path):
    for name, overrides in (("a", ()), ("b", ()), ("c", ("train.seed=1",))):
        make_trainer(tmp_path / name, *overrides).run()
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert largest_difference(a, b) == 0
    assert largest_difference(a, c) > 0


def test_accumulated_parts_are_one_batch(make_trainer, tmp_path):
    """Without ignored pixels; parts with unequal numbers of them weigh their pixels unequally."""
    plain = ("data.augment.rotate=0", "data.augment.scale=0")
    for name, more in (
        ("whole", ()), ("parts", ("train.accumulate=4",)), ("half", ("train.batch_size=2",)),
    ):  # fmt: skip
        make_trainer(tmp_path / name, *plain, *more).run()
    whole, parts, half = (weights(tmp_path / name) for name in ("whole", "parts", "half"))
    assert largest_difference(whole, parts) < 1e-5
    assert largest_difference(whole, half) > 1e-4


def test_readers_in_other_processes_change_nothing(make_trainer, tmp_path):
    make_trainer(tmp_path / "none", "train.workers=0").run()
    make_trainer(tmp_path / "two", "train.workers=2").run()
    assert largest_difference(weights(tmp_path / "none"), weights(tmp_path / "two")) == 0


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.fusion=attention",),
        ("model.fusion=mask",),
        ("model.refine_vector=predicted",),
        ("model.without=[mpm1, mpm2]",),
        ("model.pairing=concatenate", "model.pairing_shots=2"),
        ("train.clip=0.1", "train.warmup=2"),
        ("train.precision=bf16",),
        ("model.reduce=false",),
        ("data.sampling=image",),
    ],
)
def test_alternatives_train(make_trainer, tmp_path, overrides, read_log):
    stage = "train.stages=[{iterations: 2, shots: [2, 2]}]"
    make_trainer(tmp_path, stage, *overrides).run()
    assert all(math.isfinite(line["total"]) for line in read_log(tmp_path))
    load_checkpoint(tmp_path / "checkpoint.safetensors")


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        (("data.root=''",), ConfigError, "no data folder"),
        (("data.root=nowhere",), DataError, "nowhere"),
        (("train.precision=fp16",), ConfigError, "needs a GPU"),
        (("train.backbone_weights=absent",), CheckpointError, "no backbone weights"),
        (("model.without=[mrm]", STAGES), ConfigError, r"stages\.1 .* without mrm"),
        (("model.pairing=concatenate",), ConfigError, "exactly 5"),
        (
            ("train.stages=[{iterations: 2, shots: [1, 9]}]", "train.validate_every=1"),
            DataError,
            "10 images that validating",
        ),
    ],
)
def test_what_cannot_be_trained_is_told_at_once(make_trainer, tmp_path, overrides, error, said):
    with pytest.raises(error, match=said) as caught:
        make_trainer(tmp_path, *overrides)
    assert caught.value.hint
    assert not list(tmp_path.iterdir()), "nothing was written"
