"""The tables of variants: what is trained and evaluated, once, and how it is shown."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from arnet.config_file import config_to_dict, load_config
from arnet.runtime.files import sha256_of
from benchmarks import variants

MEANS = {"1": 41.0, "2": 42.0, "3": 43.0, "voc/*": 30.0, "ccp/*": 20.0, "davis/*": 55.0}


class Arnet:
    """Stands for the command: writes what it would write, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.images = 125

    def __call__(self, *arguments: object) -> None:
        words = [str(argument) for argument in arguments]
        self.asked.append(words)
        if words[0] == "train":
            folder = Path(words[words.index("--out") + 1])
            folder.mkdir(parents=True)
            config = load_config(Path(words[words.index("--config") + 1]), overrides(words))
            (folder / "config.yaml").write_text(yaml.safe_dump(config_to_dict(config)))
            (folder / "checkpoint.safetensors").write_text(f"training {len(self.asked)}")
            if "--init" in words:
                assert Path(words[words.index("--init") + 1]).is_file()
        else:
            asked = words[words.index("--fold" if "--fold" in words else "--classes") + 1]
            mean = {"mean_iou": {"mean": MEANS[asked], "std": 1.25}}
            scores = {"q1": mean, "q2": mean}
            checkpoint = Path(words[words.index("--checkpoint") + 1])
            found = {"scores": scores, "checkpoint_sha256": sha256_of(checkpoint)}
            found["pairs"] = {"dog": self.images}
            Path(words[words.index("--json") + 1]).write_text(json.dumps(found))


def overrides(words: list[str]) -> list[str]:
    return [word for word in words if word.startswith(("data.", "train.", "model."))]


@pytest.fixture
def arnet(monkeypatch: pytest.MonkeyPatch) -> Arnet:
    command = Arnet()
    monkeypatch.setattr(variants, "_arnet", command)
    return command


def run(tmp_path: Path, *options: str) -> None:
    variants.main([*options, "--data", "data", "--out", str(tmp_path)])


def test_every_study_has_its_files() -> None:
    for study in variants.STUDIES.values():
        for name in (*study.variants, *filter(None, [study.init])):
            load_config(variants.CONFIGS / f"{name}.yaml")


def test_a_fold_is_held_out_with_the_other_data_sets(arnet: Arnet, tmp_path: Path) -> None:
    run(tmp_path, "parts", "--fold", "2", "--variant", "full")
    overrides = [word for word in arnet.asked[0] if word.startswith("data.held_out=")]
    held = load_config(variants.CONFIGS / "full.yaml", overrides).data.held_out
    assert held == load_config(variants.CONFIGS / "full.yaml").data.held_out, "fold 2 is the file's"
    assert "voc/dog" in held and "davis/*" in held


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ((), "data/weights/resnet50_caffe_imagenet_to_layer3.safetensors"),
        (("--backbone-weights", "arnet-r50"), "arnet-r50"),
    ],
)
def test_the_weights_of_the_backbone_are_those_of_the_figures_or_named(
    arnet: Arnet, tmp_path: Path, options: tuple[str, ...], weights: str
) -> None:
    run(tmp_path, "fusion", "--fold", "1", "--variant", "fusion-mask", *options)
    trained = [words for words in arnet.asked if words[0] == "train"]
    assert len(trained) == 2
    for words in trained:
        config = load_config(variants.CONFIGS / "full.yaml", overrides(words))
        assert config.train.backbone_weights == weights


def test_the_table_of_two_folds(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "parts", "--fold", "1", "--fold", "3", "--variant", "without-mpm2")
    head, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert head.startswith("| variant | 1-shot, fold 1 | 1-shot, fold 3 | mean q1 | mean s |")
    assert row == "| without-mpm2 | 41.0 ± 1.2 | 43.0 ± 1.2 | 42.0 | - | **42.0** |"


def test_the_recipe_is_asked_about_held_out_kinds_of_three_sets(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "recipe", "--variant", "wide")
    head, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert "| 1-shot, VOC | 1-shot, clothing | 1-shot, DAVIS |" in head
    assert row == "| wide | 30.0 ± 1.2 | 20.0 ± 1.2 | 55.0 ± 1.2 | 35.0 | - | **35.0** |"
    assert [words[0] for words in arnet.asked] == ["train", "eval", "eval", "eval"]
    trained = load_config(variants.CONFIGS / "wide.yaml", overrides(arnet.asked[0]))
    held, prior = trained.data.held_out, trained.model.prior
    assert prior == 15 and trained.model.channels == 256
    twin = load_config(variants.CONFIGS.parent / "generalist-r50-held-out.yaml").data.held_out
    assert set(held) == set(twin), "the model card's classes"


def test_what_is_done_is_kept(arnet: Arnet, tmp_path: Path) -> None:
    run(tmp_path, "fusion", "--fold", "1", "--variant", "fusion-mask")
    first = [words[0] for words in arnet.asked]
    assert first == ["train", "train", "eval", "eval"], "the full model, the variant, 1 and 5 shots"
    run(tmp_path, "fusion", "--fold", "1", "--variant", "fusion-mask")
    assert len(arnet.asked) == 4


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the variants' files, to be edited."""
    copied = shutil.copytree(variants.CONFIGS, tmp_path / "configs")
    monkeypatch.setattr(variants, "CONFIGS", copied)
    return copied


@pytest.mark.parametrize("only_table", [[], ["--only-table"]])
def test_a_training_of_an_edited_configuration_is_refused(
    arnet: Arnet,
    tmp_path: Path,
    configs: Path,
    only_table: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(tmp_path, "parts", "--fold", "1", "--variant", "without-mpm2")
    (configs / "without-mpm2.yaml").write_text("base: full.yaml\nmodel: {without: [mpm1]}\n")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, "parts", "--fold", "1", *only_table)
    shown = capsys.readouterr()
    folder = tmp_path / "without-mpm2-fold1"
    assert ended.value.code == 2 and shown.out == ""
    assert f"{folder} was trained with another configuration: model.without" in shown.err
    assert f"delete {folder}" in shown.err
    assert len(arnet.asked) == 2, "nothing is trained before all is checked"


def test_a_training_from_other_weights_is_refused(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("fusion", "--fold", "1", "--variant", "fusion-mask")
    run(tmp_path, *options)
    shutil.rmtree(tmp_path / "full-fold1")
    run(tmp_path, "parts", "--fold", "1", "--variant", "full")
    with pytest.raises(SystemExit):
        run(tmp_path, *options)
    start = tmp_path / "full-fold1" / "checkpoint.safetensors"
    assert f"the weights of {start} differ" in capsys.readouterr().err


def test_scores_of_another_checkpoint_are_not_shown_but_measured_again(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("parts", "--fold", "1", "--variant", "full")
    run(tmp_path, *options)
    (tmp_path / "full-fold1" / "checkpoint.safetensors").write_text("trained again")
    capsys.readouterr()
    run(tmp_path, *options, "--only-table")
    assert "full" not in capsys.readouterr().out and len(arnet.asked) == 2
    run(tmp_path, *options)
    assert [words[0] for words in arnet.asked] == ["train", "eval", "eval"]
    run(tmp_path, *options, "--only-table")
    assert "| full | 41.0" in capsys.readouterr().out


def test_a_table_of_what_there_is(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "parts", "--fold", "1", "--variant", "full")
    capsys.readouterr()
    run(tmp_path, "parts", "--only-table")
    shown = capsys.readouterr().out
    assert "| full | 41.0" in shown and "without-mpm1" not in shown
    assert len(arnet.asked) == 2


def test_a_table_evaluates_nothing(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "parts", "--fold", "1", "--variant", "full", "--episodes", "50")
    capsys.readouterr()
    run(tmp_path, "parts", "--only-table")
    assert "full" not in capsys.readouterr().out, "200 episodes have not been measured"
    assert len(arnet.asked) == 2
    run(tmp_path, "parts", "--only-table", "--episodes", "50")
    assert "| full | 41.0" in capsys.readouterr().out


def test_variants_of_other_images_share_no_column(
    arnet: Arnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "parts", "--fold", "1", "--fold", "3", "--variant", "full")
    arnet.images = 38
    run(tmp_path, "parts", "--fold", "1", "--variant", "without-mpm2")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, "parts", "--only-table")
    shown = capsys.readouterr()
    assert ended.value.code == 2 and shown.out == ""
    assert "full and without-mpm2 were evaluated on other images" in shown.err
    assert "in the column 1-shot, fold 1" in shown.err and "hint: choose" in shown.err
    run(tmp_path, "parts", "--only-table", "--variant", "without-mpm2")
    assert "| without-mpm2 | 41.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ("parts", "--fold", "0"),
        ("parts", "--variant", "fusion-mask"),
        ("recipe", "--fold", "1"),
    ],
)
def test_what_a_study_does_not_have_is_refused(arnet: Arnet, tmp_path: Path, options) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, *options)
    assert not arnet.asked
