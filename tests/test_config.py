from pathlib import Path

import pytest
import yaml

from arnet.config import Config, StageConfig
from arnet.config_file import (
    config_from_dict,
    config_to_dict,
    load_config,
    text_override,
    with_model,
)
from arnet.runtime.errors import ConfigError


def test_defaults_are_those_of_the_precedents():
    config = load_config()
    assert config == Config()
    assert config.model.backbone.name == "resnet50"
    assert (config.model.channels, config.data.image_size, config.train.batch_size) == (256, 321, 4)
    assert [stage.trainable for stage in config.train.stages] == ["all", "fusion"]


def test_round_trip_through_dictionaries_and_yaml(tmp_path):
    config = load_config(
        None,
        ["model.without=[mpm2]", "train.stages=[{iterations: 3, shots: [1, 5]}]", "data.fold=null"],
    )
    assert config != Config()
    assert config_from_dict(config_to_dict(config)) == config
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_to_dict(config)))
    assert load_config(path) == config


def test_overrides_win_over_the_file_and_the_last_over_the_first(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("train:\n  batch_size: 6\n  seed: 5\nmodel:\n  channels: 64\n")
    config = load_config(path, ["train.batch_size=8", "train.batch_size=10"])
    assert (config.train.batch_size, config.train.seed, config.model.channels) == (10, 5, 64)
    assert load_config(path).train.batch_size == 6


def test_a_file_says_only_how_it_differs_from_its_base(tmp_path):
    (tmp_path / "full.yaml").write_text("train: {seed: 5, batch_size: 6}\nmodel: {channels: 64}\n")
    (tmp_path / "deep").mkdir()
    middle, last = tmp_path / "deep" / "middle.yaml", tmp_path / "deep" / "last.yaml"
    middle.write_text("base: ../full.yaml\ntrain: {seed: 7}\n")
    last.write_text("base: middle.yaml\nmodel: {mask: hard}\n")
    config = load_config(last, ["train.clip=2"])
    assert (config.train.seed, config.train.batch_size, config.train.clip) == (7, 6, 2)
    assert (config.model.channels, config.model.mask) == (64, "hard")


@pytest.mark.parametrize(
    ("base", "said"),
    [("none.yaml", "no configuration file"), ("config.yaml", "own base"), ("3", "is 3")],
)
def test_a_base_that_is_none(tmp_path, base, said):
    path = tmp_path / "config.yaml"
    path.write_text(f"base: {base}\n")
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_an_empty_file_has_the_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# nothing\n")
    assert load_config(path) == Config()


@pytest.mark.parametrize(
    ("override", "known"),
    [
        ("modle.channels=3", "model, data, train"),
        ("model.chanels=3", "channels"),
        ("model.backbone.nam=resnet50", "output_stride"),
        ("data.augment.flips=1", "scale_range"),
        ("train.stages=[{iterations: 5, lr: 1}]", "learning_rate"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(override, known):
    with pytest.raises(ConfigError, match="unknown key") as caught:
        load_config(None, [override])
    assert known in caught.value.hint


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("train.batch_size=many", "train.batch_size"),
        ("train.batch_size=0", "train.batch_size"),
        ("train.batch_size=1.5", "train.batch_size"),
        ("train.seed=-1", "train.seed"),
        ("model.reduce=7", "model.reduce"),
        ("model.norm=layer", "model.norm"),
        ("model.backbone=resnet18", "model.backbone"),
        ("model.backbone.output_stride=4", "model.backbone.output_stride"),
        ("model.backbone.layers=[]", "model.backbone.layers"),
        ("model.without=[cmm]", "model.without.0"),
        ("data.fold=4", "data.fold"),
        ("data.root=5", "data.root"),
        ("data.augment.scale_range=[1, 2, 3]", "data.augment.scale_range"),
        ("train.stages=[]", "train.stages"),
        ("train.stages=[{iterations: 5, learning_rate: .nan}]", "train.stages.0.learning_rate"),
        ("train.stages=[{shots: [1, 1]}]", "train.stages.0.iterations"),
        ("train=", "train"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(override, place):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert f"'{place}'" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.without=[mrm, mpm1]"], "nothing predicts"),
        (["train.batch_size=4", "train.accumulate=3"], "cannot be split in 3"),
        (["data.augment.scale_range=[1.5, 0.9]"], r"1\.5\.\.0\.9"),
        (["train.stages=[{iterations: 5, shots: [5, 1]}]"], r"5\.\.1"),
        (["model.cbam_kernel=4"], "odd"),
        (["model.backbone.layers=[layer3, layer2]"], "in this order"),
        (["model.pairing=concatenate", "model.fusion=mask"], "each pair alone"),
        (["data.kind=pascal", "data.held_out=[dog]"], "folders and unions"),
    ],
)
def test_values_that_contradict_each_other(overrides, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(None, overrides)
    assert "{" not in caught.value.message, "the whole section is not printed"


@pytest.mark.parametrize(
    ("overrides", "fold"),
    [
        ([], 0),
        (["data.kind=coco"], 0),
        (["data.fold=null"], None),
        (["data.kind=folder"], None),
        (["data.kind=davis"], None),
        (["data.fold=0", "data.kind=folder"], 0),
    ],
)
def test_only_the_benchmarks_hold_a_fold_out_unasked(overrides, fold):
    """A folder of one's own would lose a quarter of its classes."""
    config = load_config(None, overrides)
    assert config.data.used_fold == fold
    assert config_from_dict(config_to_dict(config)) == config


def test_each_of_two_contradicting_values_is_allowed_alone():
    for override in ("model.without=[mrm, mpm2]", "model.pairing=concatenate", "model.fusion=mask"):
        load_config(None, [override])
    load_config(None, ["data.kind=folder", "data.held_out=[dog]"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: [1", "not readable YAML"),
        ("- 1\n- 2\n", "not a mapping"),
        ("just text", "not a mapping"),
        ("train: !!python/object/apply:os.system [true]", "not readable YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, said):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path)
    assert str(path) in caught.value.message


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match="no configuration file") as caught:
        load_config(tmp_path / "absent.yaml")
    assert "configs/" in caught.value.hint
    with pytest.raises(ConfigError, match="not readable"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00train")
    with pytest.raises(ConfigError, match="not readable"):
        load_config(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.batch_size", "not an override"),
        ("=5", "not an override"),
        ("train.batch_size=[1", "not YAML"),
        ("train.stages.0.iters=5", "unknown key"),
        ("train.seed.low=5", "train.seed"),
    ],
)
def test_an_override_that_is_none(override, said):
    with pytest.raises(ConfigError, match=said):
        load_config(None, [override])


def test_an_override_below_a_value_of_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("train:\n  seed: 5\n")
    with pytest.raises(ConfigError, match=r"'train\.seed' is a value, not a section"):
        load_config(path, ["train.seed.low=5"])


def test_another_model_under_the_same_configuration():
    config = load_config(None, ["train.seed=3"])
    changed = with_model(config, fusion="mask", without=("mpm2",))
    assert changed.model.fusion == "mask" and changed.train == config.train
    assert config.model.fusion == "cmm", "the first stays"
    with pytest.raises(ConfigError, match=r"model\.fusion"):
        with_model(config, fusion="sum")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        StageConfig(iterations=5).iterations = 6


CONFIGURATIONS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.rglob("*.yaml")), ids=lambda p: p.stem)
def test_configurations_of_the_repository_are_read(path):
    assert (load_config(path) == Config()) == (path.name == "pascal.yaml")


def test_the_recipe_for_the_whole_of_pascal_is_the_defaults_spelled_out():
    path = CONFIGURATIONS / "pascal.yaml"
    assert load_config(path) == Config()
    assert set(yaml.safe_load(path.read_text())) == {"model", "data", "train"}


@pytest.mark.parametrize(
    "path", sorted(CONFIGURATIONS.glob("ablation/*.yaml")), ids=lambda p: p.stem
)
def test_a_variant_differs_from_the_full_model(path):
    full = load_config(CONFIGURATIONS / "ablation" / "full.yaml")
    assert (load_config(path) == full) == (path.stem == "full")


def test_an_override_reaches_into_a_list():
    config = load_config(None, ["train.stages.1.iterations=7", "train.stages.0.learning_rate=1"])
    assert [stage.iterations for stage in config.train.stages] == [20_000, 7]
    assert config.train.stages[0].learning_rate == 1
    for wrong in ("train.stages.2.iterations=1", "train.stages.last.iterations=1"):
        with pytest.raises(ConfigError, match=r"'train\.stages' is a list of 2"):
            load_config(None, [wrong])


def test_an_empty_override_is_an_empty_text():
    assert load_config(None, ["data.cache=x", "data.cache="]).data.cache == ""
    with pytest.raises(ConfigError, match=r"data\.fold"):
        load_config(None, ["data.fold="])


@pytest.mark.parametrize("text", ["2012", "null", "a: b", "📷photos", "a\x85b", "long " * 50 + "x"])
def test_an_override_of_text_keeps_it_as_it_is(text):
    assert load_config(None, [text_override("data.root", text)]).data.root == text


@pytest.mark.parametrize("value", ["[3]", "3", "[1, 2, 3]"])
def test_a_range_that_is_no_pair_is_told_how_to_be_written(value):
    """Not as the key "shots.1", which it lacks."""
    with pytest.raises(ConfigError, match=r"'train\.stages\.0\.shots' is .*3.*, not two") as caught:
        load_config(None, [f"train.stages=[{{iterations: 5, shots: {value}}}]"])
    assert "least and most: shots: [1, 5]" in caught.value.hint
    with pytest.raises(ConfigError, match=r"'data\.augment\.scale_range' is"):
        load_config(None, [f"data.augment.scale_range={value.replace('3', '2, 2, 2')}"])
