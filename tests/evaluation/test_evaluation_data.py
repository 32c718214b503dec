from dataclasses import replace

import pytest

from arnet.evaluation import report
from arnet.evaluation.data import check_overrides, data_config
from arnet.evaluation.opening import Request, open_evaluation
from arnet.evaluation.protocols import get_protocol
from arnet.runtime.errors import ConfigError, DataError

QUICK = replace(get_protocol("standard"), episodes=2, seeds=(0,))


def run(checkpoint, **changes):
    request = Request(QUICK, **changes)
    return report.run(open_evaluation(checkpoint, checkpoint.config, request))


def test_the_data_of_this_machine(checkpoint):
    config = data_config(checkpoint, root="elsewhere", fold=None, cache=None)
    assert config.data.root == "elsewhere" and config.data.cache == ""
    assert config.data.fold == checkpoint.config.data.fold
    assert config.model == checkpoint.config.model


def test_keys_of_the_data_that_have_no_option(checkpoint):
    """COCO 2017 and VOC without SBD, whatever the training read; another kind holds nothing out."""
    coco = data_config(checkpoint, ["data.year=2017"], kind="coco").data
    assert (coco.kind, coco.year, coco.used_fold) == ("coco", 2017, None)
    voc = data_config(checkpoint, ["data.annotations=voc"], kind="pascal", fold=1).data
    assert (voc.annotations, voc.used_fold) == ("voc", 1)
    named = data_config(checkpoint, ["data.held_out=[disc]"])
    assert named.data.held_out == ("disc",) and named.model == checkpoint.config.model
    with pytest.raises(ConfigError, match=r"unknown key 'data\.anotations'"):
        data_config(checkpoint, ["data.anotations=voc"])


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("model.prior=3", "data.annotations=voc"),
        ("train.seed=1", "data.year=2017"),
        ("dog", "data.KEY=VALUE"),
        ("data.kind=coco", "--kind"),
        ("data.fold=1", "--fold"),
        ("data.cache=x", "--cache"),
        ("data.image_size=97", "--size"),
    ],
)
def test_what_is_not_about_the_data_or_has_an_option_is_no_override(override, hint):
    check_overrides(["data.fold=null", "data.annotations=voc"])
    with pytest.raises(ConfigError) as caught:
        check_overrides(["data.year=2017", override])
    assert hint in caught.value.hint


def test_a_fold_that_is_not_used_is_neither_taken_nor_reported(make_config, checkpoint):
    """Old checkpoints of unions and of held-out classes have a fold in their configuration."""
    named = ("data.held_out=[disc]", "data.fold=2")
    checkpoint = replace(
        checkpoint, config=make_config(*named, f"data.root={checkpoint.config.data.root}")
    )
    result = run(checkpoint)
    assert result["fold"] is None and set(result["pairs"]) == {"disc"}
    with pytest.raises(ConfigError, match="no fold 1") as caught:
        data_config(checkpoint, fold=1)
    assert "--fold" in caught.value.hint
    assert data_config(checkpoint, kind="pascal", fold=1).data.used_fold == 1


def test_a_folder_without_the_classes_that_were_held_out(make_config, checkpoint):
    """Also with a fold in the configuration, as old checkpoints have it."""
    settings = ("data.held_out=[crack, disc]", "data.fold=0")
    root = checkpoint.config.data.root
    checkpoint = replace(checkpoint, config=make_config(*settings, f"data.root={root}"))
    with pytest.raises(DataError, match=r"lacks classes .* held out: crack$") as caught:
        run(checkpoint)
    assert "--classes square,disc,bar," in caught.value.hint
    result = run(checkpoint, classes=("bar",))
    assert list(result["pairs"]) == ["bar"] and result["fold"] is None
