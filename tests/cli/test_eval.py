"""``arnet eval`` on a folder of photographs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from arnet.checkpoint import load_checkpoint, save_checkpoint
from arnet.config_file import config_from_dict, config_to_dict
from arnet.modeling import ARNet

Evaluate = Callable[..., Any]


def test_a_table_a_json_file_and_the_next_command(
    evaluate: Evaluate, trained: Path, tmp_path: Path
) -> None:
    out, result = evaluate()
    lines = out.splitlines()
    assert "data all classes val, protocol standard: 4 episodes x 2 seeds, 1-shot" in lines[0]
    assert lines[1].split() == ["images", "q1", "s", "q2"]
    mean = result["scores"]["q2"]["mean_iou"]
    assert lines[2].startswith(" mIoU")
    assert f"{mean['mean']:.1f} ± {mean['std']:.1f}" in lines[2]
    assert ["disc", "2"] in [line.split()[:2] for line in lines]
    assert ["ring", "2"] in [line.split()[:2] for line in lines]
    assert "not a benchmark of the paper" in out
    assert f"Written to {tmp_path / 'result.json'}" in out
    # Trained on a plain folder: a bundle of it comes next.
    bundle = trained.parent / "bundle"
    export = f"Next: arnet export --checkpoint {trained} --support {tmp_path / 'data'}"
    assert lines[-1] == f"{export} --out {bundle}"


def test_the_next_command_without_a_folder_of_ones_own_takes_the_examples(
    run, checkpoint: Path, data: Path
) -> None:
    """The checkpoint was trained on PASCAL."""
    quick = ("--episodes", 2, "--seeds", 1)
    finished = run("eval", "--checkpoint", checkpoint, "--data", data, "--kind", "folder", *quick)
    last = finished.out.splitlines()[-1]
    assert last.startswith(f"Next: arnet infer --checkpoint {checkpoint} --support examples/horse")


def test_with_photographs_enough_the_bundle_is_compared_on_those_of_the_validation(
    data: Path, trained: Path
) -> None:
    from arnet.cli.next_steps import export_command

    assert ("--data", data) == export_command(trained, data, 6)[4:6]
    assert ("--support", data) == export_command(trained, data, 5)[4:6]


def test_the_json_holds_what_is_needed_to_repeat_it(evaluate: Evaluate) -> None:
    _, result = evaluate("--annotation", "box", "--classes", "ring, disc")
    assert result["annotation"] == "box"
    assert result["pairs"] == {"ring": 2, "disc": 2}
    assert result["protocol"]["episodes"] == 4
    assert result["protocol"]["seeds"] == [0, 1]
    assert result["trained"] == {"iteration": 7}
    assert len(result["checkpoint_sha256"]) == 64
    assert 0 <= result["scores"]["q2"]["binary_iou"]["mean"] <= 100


@pytest.fixture
def voc(data: Path, tmp_path: Path) -> Path:
    """The photographs as PASCAL VOC without SBD: an aeroplane or a bicycle in each."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for path in sorted((data / "images").iterdir()):
        Image.open(path).save(folder / "JPEGImages" / f"{path.stem}.jpg")
        shutil.copy(data / "masks" / path.name, folder / "SegmentationClass")
    names = "".join(f"{number:02}\n" for number in range(20))
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text(names)
    return tmp_path


def test_pascal_without_the_masks_of_sbd_can_be_evaluated(
    run, fails: Callable[..., str], checkpoint: Path, voc: Path
) -> None:
    """The checkpoint's own configuration asks for them."""
    options = ("--checkpoint", checkpoint, "--data", voc, "--episodes", 2, "--seeds", 1)
    assert "masks of val.txt are missing" in fails("eval", *options)
    finished = run("eval", *options, "data.annotations=voc")
    assert finished.code == 0, finished.err
    assert "pascal fold 0 val" in finished.out and "aeroplane" in finished.out
    assert "not about the data" in fails("eval", *options, "model.fusion=mask")


def test_classes_are_named_by_several_options_and_may_have_commas(
    evaluate: Evaluate, data: Path
) -> None:
    (data / "classes.txt").write_text("disc, full\nring [thin]\n")
    _, result = evaluate("--classes", "ring [thin]", "--classes", "disc, full")
    assert list(result["pairs"]) == ["ring [thin]", "disc, full"]


def test_another_size_is_another_evaluation(evaluate: Evaluate) -> None:
    (_, small), (_, large) = evaluate(), evaluate("--size", "97")
    assert (small["image_size"], large["image_size"]) == (65, 97)
    assert large["scores"] != small["scores"]


def test_boxes_guide_otherwise_than_masks(evaluate: Evaluate) -> None:
    masks, boxes = (evaluate("--annotation", kind)[1] for kind in ("mask", "box"))
    # The box of a ring includes its hole.
    assert masks["scores"]["q1"] != boxes["scores"]["q1"]


def test_the_baseline_stands_beside_the_model(evaluate: Evaluate) -> None:
    out, result = evaluate("--baseline")
    assert out.splitlines()[1].split() == ["images", "q1", "s", "q2", "baseline"]
    assert 0 < result["baseline"]["mean_iou"]["mean"] <= 100


def test_what_is_marked_where_nothing_is_stands_below(evaluate: Evaluate) -> None:
    out, result = evaluate("--absent", "--against", "mask")
    lines = [line.split() for line in out.splitlines()]
    (header,) = (n for n, line in enumerate(lines) if line == ["q2", "q2,", "mask"])
    found = result["absent"]["arnet"]
    queries = f"{found['queries']['mean']:.1f} ± {found['queries']['std']:.1f}"
    assert " ".join(lines[header + 1]).startswith(f"% with more than 1 % marked {queries}")
    other = result["absent"]["mask"]["queries"]
    assert f"{other['mean']:.1f} ± {other['std']:.1f}" == " ".join(lines[header + 1][-3:])
    assert " ".join(lines[header + 2]).startswith(
        f"% of the area marked {found['area']['mean']:.1f}"
    )
    assert "that do not show the class" in out
    plain, without = evaluate()
    assert "absent" not in without and "do not show" not in plain


def test_parts_can_be_left_out(evaluate: Evaluate) -> None:
    out, result = evaluate("--without", "mpm1")
    assert result["without"] == ["mpm1"]
    assert out.splitlines()[1].split() == ["images", "s", "q2"]  # without MPM1 there is no q1
    _, result = evaluate("--without", "mpm2, mrm")
    assert list(result["scores"]) == ["q1", "q2"]


def test_the_fusion_can_be_changed_to_one_without_weights(evaluate: Evaluate) -> None:
    _, result = evaluate("--fusion", "mask")
    assert result["fusion"] == "mask"


def test_another_fusion_stands_beside(evaluate: Evaluate) -> None:
    out, result = evaluate("--shots", 1, "--against", "mask,mean")
    header = out.splitlines()[1]
    assert header.split() == ["images", "q1", "s", "q2", "q2,", "mask", "q2,", "mean"]
    # One shot needs no fusion.
    for name in ("mask", "mean"):
        assert result["against"][name] == result["scores"]["q2"]


def test_the_prior_can_be_stronger_or_weaker(
    evaluate: Evaluate, fails: Callable[..., str], trained: Path, data: Path, tmp_path: Path
) -> None:
    refused = fails("eval", "--checkpoint", trained, "--data", data, "--prior", 4)
    assert "arnet train model.prior=4" in refused  # it was trained without
    tree = config_to_dict(load_checkpoint(trained).config)
    tree["model"]["prior"] = 10
    config = config_from_dict(tree)
    save_checkpoint(trained, ARNet(config.model), config, {"iteration": 7})
    (_, own), (_, same), (_, other) = evaluate(), evaluate("--prior", 10), evaluate("--prior", 90)
    assert own["scores"] == same["scores"] != other["scores"]
    assert (own["prior_strength"], other["prior_strength"]) == (10, 90)


def test_a_fusion_that_was_not_trained_is_refused(
    fails: Callable[..., str], trained: Path, data: Path
) -> None:
    message = fails("eval", "--checkpoint", trained, "--data", data, "--fusion", "attention")
    assert "arnet train model.fusion=attention" in message


def test_a_folder_in_place_of_the_json_is_refused_before_anything_is_computed(
    fails: Callable[..., str],
    trained: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from arnet.evaluation import report

    monkeypatch.setattr(report, "run", lambda *_: pytest.fail("it was evaluated"))
    options = ("--checkpoint", trained, "--data", data, "--json", tmp_path)
    assert f"{tmp_path} is a folder" in fails("eval", *options)


def test_the_protocol_of_the_precedent_takes_photographs_in_their_own_size(
    evaluate: Evaluate,
) -> None:
    _, result = evaluate("--protocol", "canet", "--episodes", 2, "--seeds", 1)
    assert result["protocol"]["size"] == "original"
    assert result["protocol"]["scales"] == [0.7, 1.0, 1.3]
    assert result["image_size"] is None and result["cached_features"] is False


@pytest.mark.parametrize("option", [("--size", 97), ("--cache", "cache")])
def test_photographs_in_their_own_size_have_neither_another_nor_a_cache(
    fails: Callable[..., str], tmp_path: Path, option: tuple[str, object]
) -> None:
    """Whatever else is wrong: nothing has been read yet."""
    given = ("--checkpoint", tmp_path / "none", "--data", tmp_path / "none")
    message = fails("eval", *given, "--protocol", "canet", *option)
    assert "protocol canet takes every photograph in its own size" in message
    assert "--protocol standard" in message


def test_features_are_cached_where_asked(evaluate: Evaluate, tmp_path: Path) -> None:
    _, plain = evaluate()
    _, cached = evaluate("--cache", tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.safetensors"))
    difference = (
        plain["scores"]["q2"]["mean_iou"]["mean"] - cached["scores"]["q2"]["mean_iou"]["mean"]
    )
    assert abs(difference) < 10  # the cache is in bfloat16


def example_result(*classes: str) -> dict[str, Any]:
    """What an evaluation may give, with a figure of the first class."""
    figure = {"mean": 50.0, "std": 1.0}
    score = {"mean_iou": figure, "binary_iou": figure, "per_class": {classes[0]: figure}}
    return {
        "data": "PASCAL fold 2 val",
        "protocol": {"name": "standard", "episodes": 10, "seeds": [0, 1]},
        "shots": 1,
        "annotation": "mask",
        "scores": {"q2": score},
        "pairs": dict.fromkeys(classes, 60),
        "paper": {"mean_iou_of_four_splits": 56.5},
        "notes": ["a part of the benchmark"],
    }


def test_the_paper_stands_beside_the_pascal_figures(capsys: pytest.CaptureFixture[str]) -> None:
    from arnet.cli.eval_output import show

    show(example_result("dog", "horse"))
    _, header, mean, binary, dog, horse, legend, note = capsys.readouterr().out.splitlines()
    assert header.split() == ["images", "q2", "paper"] and "four splits" in legend
    assert note == "note: a part of the benchmark"
    assert mean.split() == ["mIoU", "50.0", "±", "1.0", "56.5"]
    assert "56.5" not in binary + dog
    assert horse.split() == ["horse", "60", "-"]


def test_names_of_classes_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from arnet.cli.eval_output import show

    show(example_result("switch [/on]", "[off]"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split()[:3] == ["switch", "[/on]", "60"]
    assert lines[5].split()[:2] == ["[off]", "60"]


def test_a_failure_of_the_display_loses_no_evaluation(
    run, trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arnet.cli import eval_output
    from arnet.evaluation import report

    def fail(_: object) -> None:
        raise RuntimeError("the display failed")

    result = example_result("dog", "horse")
    monkeypatch.setattr(report, "run", lambda *_: result)
    monkeypatch.setattr(eval_output, "show", fail)
    options = ("--checkpoint", trained, "--data", data, "--json", tmp_path / "result.json")
    with pytest.raises(RuntimeError, match="display"):
        run("eval", *options)
    assert json.loads((tmp_path / "result.json").read_text()) == result
