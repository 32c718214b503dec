"""Which tensors the stages hand on: those that a configuration needs and no others."""

import pytest

from arnet.config_file import load_config
from arnet.export.layout import layout_of

QUERY = ("query_features", "query_match", "query_taps", "query_refine")
# What differs from the default; the keys are those of Layout.
LAYOUTS = {
    (): {},
    ("masked_features=false",): {"query": ("query_features", "query_match", "query_refine")},
    ("fusion=attention",): {
        "query": (*QUERY, "query_attend"),
        "per_shot": ("match", "self", "attend", "prototype"),
        "per_class": (),
        "together": False,
    },
    ("fusion=attention", "refine_vector=predicted"): {
        "query": (*QUERY, "query_attend"),
        "per_shot": ("match", "self", "attend", "support_features"),
        "per_class": (),
        "together": False,
    },
    ("fusion=mask",): {
        "per_shot": ("match", "self", "refine"),
        "per_class": (),
        "together": False,
    },
    ("fusion=mean",): {},
    ("refine_vector=predicted",): {
        "per_shot": ("match", "self", "support_features"),
        "per_class": (),
        "together": False,
    },
    ("pairing=concatenate", "pairing_shots=2"): {"together": False, "shots": 2},
    ("prior=10",): {
        "image": ("features", "deep"),
        "query": (*QUERY, "query_deep"),
        "per_shot": ("match", "self", "prototype", "prior"),
    },
    ("without=[mpm1]",): {
        "query": ("query_features", "query_taps", "query_refine"),
        "per_shot": ("self", "prototype"),
        "outputs": ("margins", "supports"),
    },
    ("without=[mpm2]",): {
        "query": ("query_match", "query_refine"),
        "per_shot": ("match", "prototype"),
        "outputs": ("margins", "first"),
    },
    ("without=[mrm]",): {
        "query": ("query_features", "query_match", "query_taps"),
        "per_shot": ("match", "self"),
        "per_class": (),
    },
}


def layout(configuration):
    overrides = [f"model.{override}" for override in configuration]
    return layout_of(load_config(None, overrides).model)


@pytest.mark.parametrize("configuration", LAYOUTS, ids=lambda c: " ".join(c) or "default")
def test_tensors_of_a_configuration(configuration) -> None:
    expected = {
        "query": QUERY,
        "per_shot": ("match", "self", "prototype"),
        "per_class": ("refine",),
        "together": True,
        "shots": None,
        "outputs": ("margins", "first", "supports"),
    } | LAYOUTS[configuration]
    found = layout(configuration)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("configuration", LAYOUTS, ids=lambda c: " ".join(c) or "default")
def test_decode_takes_what_other_stages_give(configuration) -> None:
    found = layout(configuration)
    given = {*found.query, *found.per_shot, *found.per_class, "shares"}
    assert set(found.decode) <= given
    assert len(set(found.decode)) == len(found.decode)
    # What is computed for every query is used; of a shot only the vector may be for fusing alone.
    unused = {*found.query, *found.per_shot, *found.per_class} - set(found.decode)
    assert unused == ({"prototype"} if found.per_class else set())
    names = [*found.query, *found.per_shot, *found.per_class]
    assert len(set(names)) == len(names)  # the runtime feeds them by name
