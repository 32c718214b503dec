"""The sizes that plans take, from the interfaces of real stages."""

from __future__ import annotations

import pytest

from arnet.export.bundle import interface
from arnet.export.tensorrt.profiles import Sizes, profile, sizes_for
from arnet.runtime.bundle import Stage, TensorInfo
from arnet.runtime.errors import BuildError


def test_the_sizes_of_decode_are_those_of_all_its_shots(graphs) -> None:
    stage = interface("decode", graphs["decode"])
    found = profile("decode", stage, Sizes((1, 5, 10), (1, 1, 4)))
    assert set(found) == {"match", "self", "refine", "shares"}
    assert found["match"] == ((1, 12, 9, 9), (5, 12, 9, 9), (40, 12, 9, 9))
    assert found["refine"] == ((1, 9, 12), (1, 9, 12), (4, 9, 12))
    assert found["shares"] == ((1, 1), (1, 5), (4, 40))


def test_the_prototypes_are_those_of_one_class(graphs) -> None:
    stage = interface("fuse_support", graphs["fuse_support"])
    found = profile("fuse_support", stage, Sizes((1, 5, 10), (1, 2, 4)))
    assert found == {"prototypes": ((1, 12), (5, 12), (10, 12))}


@pytest.mark.parametrize("name", ["encode_image", "encode_support", "encode_query"])
def test_what_is_of_one_photograph_has_no_profile(graphs, name) -> None:
    assert profile(name, interface(name, graphs[name]), Sizes((1, 5, 10), (1, 1, 4))) == {}


@pytest.mark.parametrize(
    ("most", "fixed", "together", "expected"),
    [
        ((10, 8), None, True, Sizes((1, 5, 10), (1, 1, 8))),
        ((3, 8), None, True, Sizes((1, 3, 3), (1, 1, 8))),
        ((10, 8), None, False, Sizes((1, 5, 10), (1, 1, 1))),
        ((10, 8), 5, False, Sizes((5, 5, 5), (1, 1, 1))),
        ((1, 1), None, True, Sizes((1, 1, 1), (1, 1, 1))),
    ],
)
def test_the_sizes_that_a_model_can_take(most, fixed, together, expected) -> None:
    assert sizes_for(*most, fixed, together) == expected


def test_a_dimension_that_nobody_knows_is_an_error() -> None:
    stage = Stage("decode.onnx", (TensorInfo("image", "uint8", ("height", 3)),), ())
    with pytest.raises(BuildError, match=r"image of the stage 'decode' has a dimension 'height'"):
        profile("decode", stage, Sizes((1, 1, 1), (1, 1, 1)))
