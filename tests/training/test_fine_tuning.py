"""A trained model on a person's own photographs."""

from pathlib import Path

from arnet.config_file import load_config
from arnet.training.fine_tuning import fine_tuning


def test_the_model_stays_and_the_data_are_a_folder() -> None:
    overrides = ["model.prior=10", "model.channels=96", "data.kind=pascal", "data.image_size=257"]
    trained = load_config(None, overrides)
    config = fine_tuning(trained, Path("runs/mine"))
    assert config.model == trained.model and config.data.image_size == 257
    assert (config.data.kind, config.data.fold) == ("folder", None)
    assert config.train.stages[-1].learning_rate < trained.train.stages[0].learning_rate


def test_another_kind_of_data_has_its_own_fold() -> None:
    """A plain folder has none unless asked for: PASCAL without would hold no class out."""
    base = fine_tuning(load_config(), Path("x"))
    assert load_config(None, ["data.root=here"], base).data.fold is None
    assert load_config(None, ["data.kind=pascal"], base).data.fold == 0
    assert load_config(None, ["data.fold=2", "data.kind=pascal"], base).data.fold == 2
    assert load_config(None, ["data.kind=pascal", "data.fold=null"], base).data.fold is None
    pascal = load_config(None, ["data.fold=3"])
    assert load_config(None, ["train.seed=1"], pascal).data.fold == 3
    assert load_config(None, ["data.kind=folder"], pascal).data.fold is None


def test_overrides_go_on_top() -> None:
    base = fine_tuning(load_config(None, ["model.channels=96"]), Path("x"))
    config = load_config(None, ["train.stages.0.iterations=7", "data.root=here"], base)
    assert config.model.channels == 96 and config.train.stages[0].iterations == 7
    assert config.train.stages[0].shots == base.train.stages[0].shots
