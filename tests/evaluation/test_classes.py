import shlex
import shutil

import pytest

from arnet.data import open_dataset
from arnet.evaluation.classes import choose_classes, classes_option
from arnet.runtime.errors import DataError


@pytest.fixture
def named(shapes, tmp_path):
    """Opens the validation part of the shapes, whose classes are called as asked."""

    def named(*names, **options):
        root = shutil.copytree(shapes, tmp_path / "named", dirs_exist_ok=True)
        (root / "classes.txt").write_text("\n".join(names) + "\n")
        return open_dataset("folder", root, "val", **options)

    return named


def chosen(dataset, *wanted, shots=1):
    return [dataset.class_names[c] for c in choose_classes(dataset, wanted, shots)]


def test_a_name_is_looked_for_as_it_is_before_it_is_cut_at_commas_or_taken_for_a_pattern(named):
    dataset = named("bolt, short", "nut [M8]", "bolt")
    assert chosen(dataset, "bolt, short") == ["bolt, short"]
    assert chosen(dataset, "nut [M8]", "bolt, short") == ["nut [M8]", "bolt, short"]
    assert chosen(dataset, "nut [M8],bolt") == ["nut [M8]", "bolt"]
    assert chosen(dataset, "bolt*", "bolt") == ["bolt, short", "bolt"]
    assert chosen(named("disc *", "disc 2", "bar"), "disc *") == ["disc *"]
    with pytest.raises(DataError, match=r"has no class long$") as caught:
        chosen(named("bolt, short", "nut [M8]", "bolt"), "bolt, long")
    assert caught.value.hint == "it has 'bolt, short', 'nut [M8]', bolt"


def test_what_is_to_be_typed_for_classes_names_them(named):
    for names in (("square", "disc"), ("the disc", "[bar]"), ("bolt, short", "it's")):
        words = classes_option(names).removeprefix("--classes ").split(" --classes ")
        dataset = named(*names, "third")
        assert chosen(dataset, *(shlex.split(word)[0] for word in words)) == list(names)


def test_classes_that_exist_but_have_too_few_images_are_said_to(named):
    """Those of the validation part have 4, 4 and 4 of its 6 photographs."""
    dataset = named("voc/square", "voc/disc", "ccp/bar")
    few = {c: names[:2] for c, names in dataset.by_class.items() if c < 3}
    dataset.by_class.update(few)
    assert chosen(dataset, "*", shots=2) == ["ccp/bar"]
    for wanted in ("voc/square,voc/disc", "voc/*"):
        with pytest.raises(DataError, match="2 shots need 3 images of each class") as caught:
            chosen(dataset, wanted, shots=2)
        assert caught.value.message.endswith("has fewer of: voc/square 2, voc/disc 2")
        assert caught.value.hint.endswith("or take classes with enough: --classes ccp/bar")


def test_a_class_that_is_not_held_out_is_not_said_to_be_missing(named):
    dataset = named("square", "disc", "bar", held_out=["disc"])
    with pytest.raises(DataError, match="held out, and bar is not") as caught:
        chosen(dataset, "bar")
    assert "they are disc" in caught.value.hint and "data.held_out=[]" in caught.value.hint
