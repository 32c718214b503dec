"""The inspector's JSON in both dialects, and what is said of a plan that is not what was asked."""

from __future__ import annotations

import json

import pytest

from arnet.export.tensorrt.inspection import Layer, census, check_built, layers_of
from arnet.runtime.errors import BuildError


def document(*layers, ends="Bindings") -> str:
    return json.dumps({"Layers": list(layers), ends: []})


def old(kind, inputs, outputs):
    """A layer as TensorRT 10 tells it."""
    sides = {"Inputs": inputs, "Outputs": outputs}
    return {"LayerType": kind, "Name": kind} | {
        side: [{"Name": "t", "Location": "Device", "Format/Datatype": text} for text in texts]
        for side, texts in sides.items()
    }


def new(kind, inputs, outputs, key="Datatype"):
    """A layer as TensorRT 11 tells it."""
    sides = {"Inputs": inputs, "Outputs": outputs}
    return {"LayerType": kind, "Name": kind} | {
        side: [{"Name": "t", "Format": "Row major linear FP32", key: text} for text in texts]
        for side, texts in sides.items()
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Half", "float16"),
        ("Float", "float32"),
        ("Row major linear FP32", "float32"),
        ("Row major linear FP16 format", "float16"),
        ("Channel major FP16 format where channel % 8 == 0", "float16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("BFloat16", "bfloat16"),
        ("Row major linear BF16 format", "bfloat16"),
        ("Row major linear FP8 format", "float8"),
        ("FP8", "float8"),
        ("Int32", "int32"),
        ("Int64", "int64"),
        ("Bool", "bool"),
        ("N/A due to dynamic shapes", "unknown"),
        ("", "unknown"),
    ],
)
def test_types_in_the_words_of_the_inspector(text, kind) -> None:
    (layer,) = layers_of(document(old("CaskConvolution", [text], [text])))
    assert layer == Layer("CaskConvolution", (kind,), (kind,))


@pytest.mark.parametrize("key", ["Datatype", "DataType"])
def test_the_dialect_of_11_has_the_type_apart(key) -> None:
    text = document(new("gemm", ["Half", "Float"], ["Half"], key), ends="I/O Tensors")
    assert layers_of(text) == [Layer("gemm", ("float16", "float32"), ("float16",))]


def test_the_census_counts_first_outputs() -> None:
    layers = [
        Layer("a", ("float32",), ("float16", "float32")),
        Layer("b", (), ("float16",)),
        Layer("c", ("float16",), ()),
        Layer("d", (), ("int8",)),
    ]
    assert census(layers) == {"float16": 2, "int8": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"Layers": []}',
        '{"Bindings": []}',
        '{"Layers": {}, "Bindings": []}',
        '{"Layers": ["conv1", "conv2"], "Bindings": []}',
        '{"Layers": [{"Outputs": "x"}], "Bindings": []}',
        '{"Layers": [{"Outputs": ["x"]}], "Bindings": []}',
    ],
)
def test_what_cannot_be_read_is_an_error(text) -> None:
    with pytest.raises(BuildError, match="inspector"):
        layers_of(text)


def made(*pairs):
    return [Layer(kind, (read,), (wrote,)) for kind, read, wrote in pairs]


HALF = made(
    ("CaskConvolution", "float16", "float16"),
    ("CaskGemmConvolution", "float16", "float16"),
    ("Reformat", "float32", "float16"),
    ("kgen", "float16", "float32"),
)
FULL = made(("CaskConvolution", "float32", "float32"), ("Reformat", "float32", "float32"))
SOME = made(
    ("CaskConvolution", "float16", "float16"),
    ("CaskConvolution", "float32", "float32"),
    ("CaskConvolution", "float32", "float32"),
)
QUANTISED = made(("CaskConvolution", "int8", "int8"), ("CaskConvolution", "int8", "float32"))
ISLAND = made(*[("gemm", "float32", "float32")] * 3)
BRAIN = ISLAND + made(("sm90_gemm_bf16", "bfloat16", "bfloat16"))


@pytest.mark.parametrize(
    ("precision", "layers"),
    [
        ("fp16", HALF),
        ("fp32", FULL),
        ("tf32", FULL),
        ("int8", QUANTISED),
        ("bf16", BRAIN),
        # Products of an island beside two convolutions that have become one.
        ("fp16", [*made(("CaskConvolution", "float16", "float16")), *ISLAND]),
    ],
)
def test_what_was_asked_for_passes(precision, layers) -> None:
    check_built("decode", precision, layers, convolutions=2)


@pytest.mark.parametrize(
    ("precision", "layers", "told"),
    [
        ("fp16", FULL, "0 of 1 layers"),
        ("fp16", SOME, "1 of 3 layers"),
        ("bf16", HALF, "0 of 2 layers"),
        ("int8", FULL, "0 of 1 layers"),
        ("fp8", QUANTISED, "0 of 2 layers"),
        ("bf16", ISLAND, "0 of 3 layers"),
        ("fp16", [], "0 of 0 layers"),
        ("fp16", made(("kgen", "unknown", "unknown")), "0 of 1 layers"),
        ("fp32", HALF, "put out float16"),
        ("tf32", QUANTISED, "put out int8"),
    ],
)
def test_what_was_not_asked_for_is_an_error(precision, layers, told) -> None:
    """TensorRT 11 builds float32 of a graph in float32 without a word, whatever was wanted."""
    with pytest.raises(BuildError, match=rf"'decode' is not {precision}: .*{told}"):
        check_built("decode", precision, layers, convolutions=2)


def test_a_stage_without_convolutions_of_that_type_may_be_anything() -> None:
    check_built("fuse_support", "fp16", FULL, convolutions=0)
    with pytest.raises(BuildError):
        check_built("fuse_support", "fp16", FULL, convolutions=1)
