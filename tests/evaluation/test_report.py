import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from arnet.checkpoint import load_checkpoint, save_checkpoint
from arnet.config_file import load_config
from arnet.data import EvaluationEpisodes, open_dataset
from arnet.evaluation import opening, report
from arnet.evaluation.data import data_config
from arnet.evaluation.encoder import Encoder
from arnet.evaluation.evaluator import evaluate
from arnet.evaluation.opening import Request, change_model, open_evaluation
from arnet.evaluation.predictors import ARNetPredictor, OriginalSizePredictor
from arnet.evaluation.protocols import PROTOCOLS, get_protocol
from arnet.evaluation.reference import OFFICIAL_VAL_PAIRS, completeness
from arnet.runtime.errors import CheckpointError, ConfigError, DataError

QUICK = replace(get_protocol("standard"), episodes=4, seeds=(0, 1, 2))


def run(checkpoint, **changes):
    request = Request(**{"protocol": QUICK, **changes})
    return report.run(open_evaluation(checkpoint, checkpoint.config, request))


def test_mean_and_deviation_over_the_seeds(checkpoint, shapes):
    result = run(checkpoint)
    dataset = open_dataset("folder", shapes, "val")
    config = checkpoint.config.data
    from arnet.inputs import ImageInput

    images = ImageInput(dataset, config.image_size, config.augment)
    predictor = ARNetPredictor(Encoder(checkpoint.model, images))
    values = [
        evaluate(predictor, dataset, EvaluationEpisodes(dataset, None, 1, 4, seed, "random"))
        .meters["q2"]
        .mean_iou()
        for seed in QUICK.seeds
    ]
    found = result["scores"]["q2"]["mean_iou"]
    assert found == {"mean": pytest.approx(np.mean(values)), "std": pytest.approx(np.std(values))}
    assert found["std"] > 0
    one = run(checkpoint, protocol=replace(QUICK, seeds=(0,)))["scores"]["q2"]["mean_iou"]
    assert one == {"mean": pytest.approx(values[0]), "std": 0}


def test_a_model_with_a_prior_is_shown_beside_it(make_model, make_config, shapes, tmp_path):
    config = make_config(f"data.root={shapes}", "model.prior=20")
    save_checkpoint(tmp_path / "prior.safetensors", make_model("prior=20"), config, {})
    result = run(load_checkpoint(tmp_path / "prior.safetensors"), baseline=True)
    assert set(result["prior"]) == {"mean_iou", "binary_iou", "per_class"}
    assert result["prior"] != result["baseline"]


def test_it_says_what_was_measured(checkpoint):
    result = run(checkpoint, shots=2, baseline=True)
    assert list(result["scores"]) == ["q1", "s", "q2"]
    assert set(result["scores"]["q2"]) == {"mean_iou", "binary_iou", "per_class"}
    assert set(result["baseline"]) == {"mean_iou", "binary_iou", "per_class"}
    assert result["checkpoint_sha256"] == checkpoint.sha256
    assert result["trained"] == {"iteration": 9}
    assert result["protocol"]["seeds"] == (0, 1, 2) and result["shots"] == 2
    assert set(result["pairs"]) == {"square", "disc", "bar"}
    assert result["paper"] is None and "not a benchmark" in result["notes"][0]


def test_classes_with_too_few_images_are_left_out_and_told(checkpoint, shapes, monkeypatch):
    dataset = open_dataset("folder", shapes, "val")
    (bar,) = (c for c, name in dataset.class_names.items() if name == "bar")
    bars = [pair for pair in dataset.pairs if pair[1] == bar][:2]
    fewer = replace(dataset, pairs=[*(p for p in dataset.pairs if p[1] != bar), *bars])
    monkeypatch.setattr(opening, "open_split", lambda *_: fewer)
    result = run(checkpoint, shots=2)
    assert set(result["pairs"]) == {"square", "disc"}
    assert "too few images for 2 shots, left out: bar 2" in result["notes"]
    assert set(run(checkpoint, shots=1)["pairs"]) == {"square", "disc", "bar"}
    with pytest.raises(DataError, match="shots need") as caught:
        run(checkpoint, shots=2, classes=("bar",))
    assert "--classes square,disc" in caught.value.hint
    with pytest.raises(DataError, match="shots need"):
        run(checkpoint, shots=99)


def test_figures_of_a_few_photographs_are_said_to_be_so(checkpoint, monkeypatch):
    result = run(checkpoint, classes=("disc", "bar"))
    few = ", ".join(f"{name} {count}" for name, count in result["pairs"].items())
    assert result["notes"][-1].startswith(
        f"few photographs, so that these figures say little: {few};"
    )
    assert "draws of the same ones" in result["notes"][-1]
    monkeypatch.setattr(report, "_FEW", min(result["pairs"].values()))
    assert not any("few photographs" in note for note in run(checkpoint)["notes"])


def test_classes_seen_in_training_are_told(checkpoint):
    seen = replace(checkpoint, info={"trained_classes": ["disc", "ring"]})
    (_, note, *_) = run(seen)["notes"]
    assert note.startswith("seen in training") and note.endswith("disc")


def test_photographs_that_were_trained_on_are_told(checkpoint, shapes):
    """Where lists were written or photographs moved after a training, it was silent."""
    marks = open_dataset("folder", shapes, "train").marks
    assert not any(
        "trained on" in note for note in run(replace(checkpoint, photographs=marks))["notes"]
    )
    held = open_dataset("folder", shapes, "val")
    known = (*marks, *held.marks[:2])
    (note,) = (n for n in run(replace(checkpoint, photographs=known))["notes"] if "trained on" in n)
    assert (
        note.startswith(f"2 of {len(held.ids)} photographs have the names") and held.ids[0] in note
    )


def test_the_same_twice_and_another_with_boxes(checkpoint):
    first = run(checkpoint)
    assert run(checkpoint) == first
    assert run(checkpoint, annotation="box")["scores"] != first["scores"]


def test_chosen_classes(checkpoint):
    result = run(checkpoint, classes=("disc",))
    assert list(result["scores"]["q2"]["per_class"]) == ["disc"] and list(result["pairs"]) == [
        "disc"
    ]
    assert set(run(checkpoint, classes=("*s*",))["pairs"]) == {"disc", "square"}
    with pytest.raises(DataError, match="no class hat") as caught:
        run(checkpoint, classes=("disc", "hat"))
    assert "square, disc, bar" in caught.value.hint


@pytest.fixture
def bordered(shapes, tmp_path):
    """The shapes, each in a border labelled 255."""
    root = shutil.copytree(shapes, tmp_path / "bordered")
    for path in (root / "masks").iterdir():
        mask = np.array(Image.open(path))
        near = np.array(Image.fromarray(mask).filter(ImageFilter.MaxFilter(7)))
        Image.fromarray(np.where((mask == 0) & (near > 0), 255, mask).astype(np.uint8)).save(path)
    return root


def test_the_protocol_of_canet(checkpoint, bordered):
    """Queries in CANet's order and at their own size, three scales, the border as background."""
    request = Request(replace(get_protocol("canet"), episodes=6), shots=2)
    config = data_config(checkpoint, root=str(bordered))
    found = report.run(open_evaluation(checkpoint, config, request))["scores"]
    dataset = open_dataset("folder", bordered, "val")

    def expected(scales=(0.7, 1.0, 1.3), border="background", order="canet"):
        predictor = OriginalSizePredictor(checkpoint.model, dataset, scales)
        episodes = EvaluationEpisodes(dataset, None, 2, 6, 0, order)
        meters = evaluate(predictor, dataset, episodes, border=border).meters
        return {
            mask: {
                "mean_iou": {"mean": pytest.approx(meter.mean_iou()), "std": 0},
                "binary_iou": {"mean": pytest.approx(meter.binary_iou()), "std": 0},
            }
            for mask, meter in meters.items()
        }

    for score in found.values():
        del score["per_class"]
    assert found == expected()
    assert found != expected(scales=(1.0,))
    assert found != expected(border="ignore")
    assert found != expected(order="random")


def test_what_the_baseline_is_measured_on_is_told(checkpoint):
    """Under CANet's protocol it has squares, which the columns beside it have not."""
    canet = replace(get_protocol("canet"), episodes=1)
    found = run(checkpoint, protocol=canet, baseline=True)
    assert "what needs no training is measured on squares of 65 x 65 pixels" in found["notes"][-1]
    assert found["image_size"] is None and found["cached_features"] is False
    assert not any("squares" in note for note in run(checkpoint, protocol=canet)["notes"])
    squares = run(checkpoint, protocol=replace(QUICK, episodes=1), baseline=True)
    assert squares["image_size"] == 65
    assert not any("squares" in note for note in squares["notes"])


def test_progress_counts_all_seeds_and_predictors(checkpoint):
    told = []
    request = Request(QUICK, baseline=True)
    evaluation = open_evaluation(checkpoint, checkpoint.config, request)
    report.run(evaluation, progress=lambda *n: told.append(n))
    assert told == [(number, 24) for number in range(1, 25)]


def test_incomplete_data_are_noted():
    official = OFFICIAL_VAL_PAIRS["pascal"][2]
    assert completeness("pascal", 2, official) is None
    note = completeness("pascal", 2, official - 1)
    assert f"{official - 1} of the {official} official pairs of fold 2" in note
    assert "not a benchmark" in completeness("folder", 0, 10)
    assert "not a benchmark" in completeness("pascal", None, 10)


def test_an_unknown_protocol():
    with pytest.raises(ConfigError, match="no protocol 'voc'") as caught:
        get_protocol("voc")
    assert all(name in caught.value.hint for name in PROTOCOLS)


def test_another_fusion_or_fewer_parts_with_the_same_weights(checkpoint):
    changed = change_model(checkpoint, fusion="mask", without=("mpm2",))
    assert changed.config.model.fusion == "mask" and changed.model.cmm is None
    own = checkpoint.model.state_dict()
    assert all(torch.equal(v, own[k]) for k, v in changed.model.state_dict().items())
    assert run(changed, shots=2)["scores"] != run(checkpoint, shots=2)["scores"]
    change_model(checkpoint, without=("mrm",))  # whatever stages it was trained in
    with pytest.raises(CheckpointError, match="shot_attention") as caught:
        change_model(checkpoint, fusion="attention")
    assert "model.fusion=attention" in caught.value.hint


def test_fusions_are_compared_as_if_each_were_evaluated_alone(checkpoint):
    result = run(checkpoint, shots=2, against=("mask",))
    alone = run(change_model(checkpoint, fusion="mask"), shots=2)
    assert result["against"] == {"mask": alone["scores"]["q2"]}
    assert result["scores"] == run(checkpoint, shots=2)["scores"]
    assert result["against"]["mask"] != result["scores"]["q2"]
    with pytest.raises(CheckpointError, match="shot_attention"):
        run(checkpoint, against=("attention",))
    with pytest.raises(ConfigError, match="no fusions at once"):
        run(checkpoint, protocol=replace(get_protocol("canet"), episodes=2), against=("mask",))


@pytest.mark.parametrize(
    ("overrides", "changes", "compares"),
    [
        (["data.fold=2"], {}, True),
        (["data.fold=null"], {}, False),
        (["data.fold=2"], {"classes": ("dog",)}, False),
        (["data.fold=2"], {"annotation": "box"}, False),
        (["data.fold=2", "model.backbone.stride_in_1x1=true"], {"shots": 5}, True),
        (["data.fold=2", "model.fusion=mask"], {}, False),
        (["data.fold=2", "model.without=[mrm]"], {}, False),
        (["data.fold=2", "model.prior=10"], {}, False),
        (["data.fold=2", "model.backbone.name=resnet18"], {}, False),
        (["data.fold=2", "model.pairing=concatenate"], {"shots": 5}, False),
    ],
)
def test_the_paper_is_shown_where_the_same_was_measured(overrides, changes, compares):
    config = load_config(None, ["data.kind=pascal", *overrides])
    assert (report._paper(config, Request(QUICK, **changes)) is not None) == compares
