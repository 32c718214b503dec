"""The inspector's JSON in both dialects, and what is said of a plan that is not what was asked."""

from __future__ import annotations

import json
import warnings

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


@pytest.mark.parametrize(
    ("weights", "kernel", "computed"),
    [
        ("Half", "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc", ("float16",) * 2),
        ("Float", "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwc", ("float32",) * 2),
        ("Float", "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nhwc", ("float32",) * 2),
        ("BFloat16", "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n", ("bfloat16",) * 2),
        ("Int8", "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_n", ("int8",) * 2),
        ("Int8", "sm80_xmma_fprop_implicit_gemm_interleaved_i8f32_i8i32_f32_n", ("int8",) * 2),
        ("FP8", "sm89_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn", ("float8",) * 2),
        ("Half", "ampere_h16816cudnn_128x64", ("float16",)),
        ("", "", ()),
    ],
)
def test_weights_and_kernels_tell_what_tensors_of_dynamic_shapes_do_not(
    weights, kernel, computed
) -> None:
    layer = old("CaskConvolution", ["N/A due to dynamic shapes"], ["N/A due to dynamic shapes"])
    layer |= {"Weights": {"Type": weights, "Count": 9408}, "TacticName": kernel}
    (found,) = layers_of(document(layer))
    assert found == Layer("CaskConvolution", ("unknown",), ("unknown",), computed)


def test_a_layer_without_weights_or_a_kernel_is_read() -> None:
    for weights in (None, [], "Half", {}):
        (layer,) = layers_of(document(old("Shuffle", ["Half"], ["Half"]) | {"Weights": weights}))
        assert layer.computed == ()


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


def made(*pairs, computed=()):
    return [Layer(kind, (read,), (wrote,), computed) for kind, read, wrote in pairs]


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
DYNAMIC = [("CaskConvolution", "unknown", "unknown")] * 3
NUMBERS = made(("Shape", "int8", "int8"))  # int64 or bool, as some versions describe it


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
        ("fp16", made(*DYNAMIC, computed=("float16",))),
        ("fp32", [*FULL, *NUMBERS]),
        ("fp32", made(*DYNAMIC)),
    ],
)
def test_what_was_asked_for_passes(precision, layers) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_built("decode", precision, layers, convolutions=2)


@pytest.mark.parametrize(
    ("precision", "layers", "told"),
    [
        ("fp16", made(*DYNAMIC), "0 of 3 layers .* and of 3 "),
        ("fp16", made(*DYNAMIC) + FULL, "0 of 4 layers .* and of 3 "),
        ("int8", made(*DYNAMIC, computed=("int8",))[:1] + made(*DYNAMIC), "1 of 4 .* and of 3 "),
        ("fp16", made(("kgen", "unknown", "unknown")), "0 of 1 layers .* and of 1 "),
        ("int8", [*ISLAND, *NUMBERS], "0 of 4 layers .* and of 1 "),
    ],
)
def test_what_tensorrt_does_not_tell_is_a_warning(precision, layers, told) -> None:
    with pytest.warns(UserWarning, match=rf"'decode' is {precision} is unknown: {told}"):
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
        ("fp16", made(*DYNAMIC, computed=("float32",)), "0 of 3 layers"),
        ("fp16", made(*DYNAMIC[:1]) + FULL * 2, "0 of 3 layers"),
        ("int8", ISLAND, "0 of 3 layers"),
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
