"""The stages of a bundle fit together, or it is refused before an engine is opened."""

import pytest

from arnet.runtime.bundle import Bundle
from arnet.runtime.bundle.contract import check_stages
from arnet.runtime.errors import BundleError


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes_together": False},
        {"shots": 2},
        {"first": False},
        {"fuse": False},
        {"state": "float16"},
    ],
    ids=str,
)
def test_every_kind_of_bundle_is_accepted(options, make_bundle) -> None:
    check_stages(Bundle.open(make_bundle(**options)).manifest)


def tensor(document, stage, side, name):
    return next(t for t in document["stages"][stage][side] if t["name"] == name)


def set_to(stage, side, name, /, **values):
    return lambda document: tensor(document, stage, side, name).update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["stages"].pop("decode"), "stage 'decode' is missing"),
        (set_to("preprocess", "inputs", "image", name="x"), "takes x; it must take image"),
        (set_to("preprocess", "inputs", "image", dtype="float32"), "image of the stage"),
        (set_to("preprocess", "outputs", "pixels", name="x"), "gives x; needed: pixels"),
        (set_to("encode_image", "outputs", "features", shape=[1, 8, 5, 5]), "encode_query"),
        (set_to("encode_support", "inputs", "mask", shape=[33, 33]), "mask of the stage"),
        (set_to("encode_support", "outputs", "match", dtype="float16"), "takes match as float32"),
        (set_to("encode_support", "outputs", "prototype", name="x"), "gives no prototype"),
        (set_to("encode_query", "outputs", "query_match", name="x"), "no stage gives query_match"),
        (set_to("fuse_support", "outputs", "refine", name="match"), "several stages give match"),
        (set_to("decode", "inputs", "refine", shape=["N", 9, 5]), "takes refine"),
        (set_to("decode", "outputs", "margins", shape=["N", 6, 5]), "takes margins"),
        (set_to("postprocess", "inputs", "size", dtype="float32"), "size of the stage"),
    ],
)
def test_stages_that_do_not_fit(change, message, bundle_folder, edit_manifest) -> None:
    bundle = Bundle.open(edit_manifest(bundle_folder, change))
    with pytest.raises(BundleError, match=message):
        check_stages(bundle.manifest)
