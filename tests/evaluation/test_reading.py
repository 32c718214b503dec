from dataclasses import dataclass

import numpy as np
import pytest
import torch

from arnet.evaluation.reading import BUDGET, ENTRY, Recent, size_of
from arnet.modeling.state import SupportFeatures


def test_the_one_not_asked_for_the_longest_goes_first():
    made = []
    recent = Recent(2 * (ENTRY + 100))

    def get(key):
        return recent.get(key, lambda: made.append(key) or np.full(100, ord(key), np.uint8))

    assert [chr(get(key)[0]) for key in "abacab"] == list("abacab")
    assert made == ["a", "b", "c", "b"]
    assert recent.size == recent.most


def test_a_large_value_takes_the_room_of_several_small_ones():
    made = []
    recent = Recent(4 * (ENTRY + 100))

    def get(key, size):
        recent.get(key, lambda: made.append(key) or torch.zeros(size, dtype=torch.uint8))

    for key in "abc":
        get(key, 100)
    get("L", 2 * (ENTRY + 100))
    assert recent.size <= recent.most
    get("c", 100)
    assert made == ["a", "b", "c", "L"], "c was kept"
    get("a", 100)
    assert made[-1] == "a"
    get("H", recent.most + 1)
    assert recent.size == 0, "what is larger than all the room is not kept"


def test_nothing_is_kept_for_free():
    recent = Recent(10 * ENTRY)
    for number in range(1000):
        recent.get(number, lambda: (None, None))
    assert recent.size == recent.most


def test_what_is_counted():
    features = torch.zeros(1, 2, 3, 4, 4)
    state = SupportFeatures(features, features[:, :, :1].clone(), torch.zeros(1, 2, 3))
    assert size_of(state) == 4 * (96 + 32 + 6)
    assert size_of((features.bfloat16(), None, np.zeros((5, 5), np.uint8))) == 2 * 96 + 25
    assert size_of(features[:, :1]) == size_of(features), "a view keeps all of it"
    with pytest.raises(TypeError, match="size of a list"):
        size_of([features])


def test_a_plain_value_of_anything_else_is_refused():
    @dataclass
    class Named:
        name: str

    with pytest.raises(TypeError, match="size of a str"):
        size_of(Named("x"))


def test_the_room_is_bounded_where_nothing_else_is_said():
    assert Recent().most == BUDGET == 2 * 2**30
