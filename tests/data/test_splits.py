"""What is kept for validation where no lists say it."""

from collections import Counter

import pytest

from arnet.data.splits import by_name, by_place

NAMES = [f"IMG_{n:04}" for n in range(400)]


def split(names, classes=lambda name: (1,), val_every=5):
    return by_name(sorted(names), {name: classes(name) for name in names}, val_every)


def test_a_photograph_that_is_added_leaves_the_others_where_they_are():
    before = split(NAMES[50:])
    after = split(NAMES)  # fifty come in front of them
    for which in ("train", "val"):
        assert [name for name in after[which] if name in NAMES[50:]] == before[which]
    # Negative control: by their places nearly all of what was kept is trained on.
    moved, old = by_place(NAMES[49:], 5), by_place(NAMES[50:], 5)
    assert not set(moved["val"]) & set(old["val"])


def test_about_a_fifth_is_kept_and_all_are_somewhere():
    found = split(NAMES)
    assert 60 < len(found["val"]) < 100
    assert sorted(found["train"] + found["val"]) == NAMES
    assert 30 < len(split(NAMES, val_every=10)["val"]) < 50


@pytest.mark.parametrize(("count", "least"), [(2, 0), (3, 0), (5, 0), (6, 2), (30, 2)])
def test_every_class_has_photographs_for_both(count, least):
    """Whatever the hashes are: of many classes, some have none of their own below a fifth."""
    classes = {f"{kind}-{n}": (kind,) for kind in range(1, 101) for n in range(count)}
    found = split(classes, classes.__getitem__)
    kept = Counter(classes[name] for name in found["val"])
    assert all(least <= kept[kind,] <= count - 2 for kind in range(1, 101))


def test_a_class_that_always_comes_with_another_has_photographs_for_both_too():
    for batch in range(20):
        names = [f"{batch}-{n}" for n in range(40)]
        rare = set(names[:10])
        found = split(names, lambda name, rare=rare: (1, 2) if name in rare else (1,))
        assert 2 <= len(rare & set(found["val"])) <= 8


def test_photographs_that_show_nothing_are_divided_too():
    found = split(NAMES, lambda name: ())
    assert 60 < len(found["val"]) < 100
