import numpy as np
import pytest

from arnet.data.dataset import interleaved_fold
from arnet.runtime.errors import DataError

SHOWN = {"base": (1, 2), "both": (1, 3), "novel": (3, 4), "empty": ()}


@pytest.mark.parametrize("novel", ["background", "drop"])
def test_training_never_shows_a_novel_class(make_dataset, novel):
    dataset = make_dataset(SHOWN, novel_classes=(3, 4), novel=novel)
    assert dataset.classes == (1, 2)
    assert {c for _, c in dataset.pairs} == {1, 2}
    for image_id in dataset.ids:
        assert set(np.unique(dataset.mask(image_id))) <= {0, 1, 2, 255}


def test_background_keeps_images_with_novel_classes_and_only_hides_those(make_dataset):
    dataset = make_dataset(SHOWN, novel_classes=(3, 4), novel="background")
    assert dataset.ids == list(SHOWN)
    assert dataset.pairs == [("base", 1), ("base", 2), ("both", 1)]
    mask = dataset.mask("both")
    assert (mask[0] == 1).all() and (mask[1] == 0).all() and (mask[7] == 255).all()


def test_drop_leaves_out_every_image_with_a_novel_class(make_dataset):
    dataset = make_dataset(SHOWN, novel_classes=(3, 4), novel="drop")
    assert dataset.ids == ["base", "empty"]
    assert dataset.pairs == [("base", 1), ("base", 2)]
    assert dataset.by_class == {1: ["base"], 2: ["base"]}


def test_val_offers_the_novel_classes_and_hides_nothing(make_dataset):
    dataset = make_dataset(SHOWN, novel_classes=(3, 4), split="val", novel="drop")
    assert dataset.ids == list(SHOWN)
    assert dataset.by_class == {3: ["both", "novel"], 4: ["novel"]}
    assert set(np.unique(dataset.mask("both"))) == {0, 1, 3, 255}


def test_without_novel_classes_both_splits_offer_all(make_dataset):
    for split in ("train", "val"):
        assert make_dataset(SHOWN, split=split).classes == (1, 2, 3, 4)


def test_the_scan_tells_the_hidden_ones_too(make_dataset):
    assert set(make_dataset(SHOWN, novel_classes=(3, 4)).scan["both"].pixels) == {1, 3}


def test_classes_can_be_chosen_on_val_but_no_novel_one_in_training(make_dataset):
    dataset = make_dataset(SHOWN, novel_classes=(3, 4), split="val", classes=(1,))
    assert dataset.by_class == {1: ["base", "both"]}
    with pytest.raises(DataError, match=r"novel classes .* 3 class3"):
        make_dataset(SHOWN, novel_classes=(3, 4), classes=(1, 3))
    with pytest.raises(DataError, match="no class 9"):
        make_dataset(SHOWN, classes=(9,))


def test_classes_with_counts_images(make_dataset):
    dataset = make_dataset(SHOWN)
    assert dataset.classes_with(2) == (1, 3)
    assert dataset.classes_with(3) == ()


@pytest.mark.parametrize("wrong", [{"split": "test"}, {"novel": "hide"}])
def test_unknown_words_are_told(make_dataset, wrong):
    with pytest.raises(DataError, match=next(iter(wrong.values()))):
        make_dataset(SHOWN, **wrong)


def test_folds_are_interleaved_and_cover_every_class_once():
    folds = [interleaved_fold(range(1, 81), fold, 4) for fold in range(4)]
    assert folds[1][:3] == (2, 6, 10)
    assert sorted(c for fold in folds for c in fold) == list(range(1, 81))
    with pytest.raises(DataError, match="fold 4"):
        interleaved_fold(range(1, 81), 4, 4)


def test_a_fold_that_holds_no_class_out_is_refused():
    """All classes would be trained on, and the figures be called those of new ones."""
    assert interleaved_fold([3, 9], 1, 4) == (9,)
    with pytest.raises(DataError, match="fold 2 of 2 classes holds none out") as caught:
        interleaved_fold([3, 9], 2, 4)
    assert "0 to 1" in caught.value.hint
