"""Quantised graphs for TensorRT: of the form it takes, and near the graphs they were made of."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from arnet.export.precision import halve
from arnet.export.quantisation import QUANTISED, calibration_feeds, quantise
from arnet.export.tensorrt.graphs import convolutions, element_types, for_plugins
from arnet.export.tensorrt.quantisation import largest_values, quantise_symmetric

TYPES = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}


@pytest.fixture(scope="module")
def feeds(stages, episodes):
    return calibration_feeds(stages, episodes)


@pytest.fixture(scope="module")
def quantised(graphs, half_graphs, stages, episodes):
    """int8 in graphs of float32 and fp8 in graphs of float16, as they are exported."""
    bases = {"int8": graphs, "fp8": half_graphs}
    return {
        precision: (base, quantise_symmetric(base, stages, episodes, precision))
        for precision, base in bases.items()
    }


def run(model, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    # Its optimiser drops a Relu before QuantizeLinear, which is right for uint8 and not for fp8.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    types = {i.name: "float16" if "float16" in i.type else "float32" for i in session.get_inputs()}
    return session.run(None, {name: value.astype(types[name]) for name, value in feed.items()})


def refused_by_tensorrt(model) -> list[str]:
    """What TensorRT's importer does not take: zero points, other types, quantised biases."""
    types = element_types(model)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = values.get(node.input[2]) if len(node.input) > 2 else None
            if zero is None or zero.data_type not in TYPES.values():
                found.append(f"{node.name}: not of a type it quantises to")
            elif np.any(numpy_helper.to_array(zero).astype(np.float32)):
                found.append(f"{node.name}: a zero point that is not zero")
        if node.op_type == "DequantizeLinear" and types[node.input[0]] == TensorProto.INT32:
            found.append(f"{node.name}: a quantised bias")
    return found


@pytest.mark.parametrize("precision", TYPES)
def test_graphs_are_of_the_form_that_tensorrt_takes(quantised, precision) -> None:
    _, models = quantised[precision]
    for name, model in models.items():
        assert refused_by_tensorrt(model) == []
        assert (convolutions(model, precision) > 0) == (name in QUANTISED)
        kinds = {element_types(model)[n.output[0]] for n in model.graph.node
                 if n.op_type == "QuantizeLinear"}  # fmt: skip
        assert kinds == ({TYPES[precision]} if name in QUANTISED else set())
        assert for_plugins(model)


def test_what_onnx_runtime_makes_is_not_of_that_form(graphs, stages, episodes) -> None:
    """The negative control, and why there are two ways to quantise."""
    encode = {"encode_image": graphs["encode_image"]}
    model = quantise(encode, stages, episodes)["encode_image"]
    assert any("zero point" in found or "type" in found for found in refused_by_tensorrt(model))


@pytest.mark.parametrize("precision", TYPES)
def test_weights_have_a_scale_for_each_channel_or_for_all(quantised, precision) -> None:
    _, models = quantised[precision]
    model = models["encode_image"]
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    scales = [
        (values[node.input[0]], values[node.input[1]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in values
    ]
    assert len(scales) > 10
    for weights, scale in scales:
        assert scale.dtype == weights.dtype
        assert scale.shape == ((len(weights),) if precision == "int8" else ())
        most = {"int8": 127, "fp8": 448}[precision]
        largest = np.abs(weights.astype(np.float32)).reshape(scale.size, -1).max(axis=1)
        np.testing.assert_allclose(scale.ravel() * most, largest, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("stage", QUANTISED)
def test_quantised_stages_are_near_those_they_were_made_of(
    quantised, feeds, precision, stage
) -> None:
    base, models = quantised[precision]
    gaps = []
    for pair in zip(
        run(base[stage], feeds[stage][0]), run(models[stage], feeds[stage][0]), strict=True
    ):
        expected, found = (array.astype(np.float32) for array in pair)
        gaps.append(np.abs(expected - found).mean() / np.abs(expected).mean())
    assert 1e-4 < max(gaps) < 0.2  # something was rounded, and not all of it lost


def test_ranges_are_those_that_were_seen(graphs, feeds) -> None:
    model, given = graphs["encode_query"], feeds["encode_query"]
    found = largest_values(model, ["features"], given[:2])
    assert found == {"features": max(float(np.abs(f["features"]).max()) for f in given[:2])}


def test_half_precision_is_the_base_of_fp8(stages, quantised) -> None:
    assert next(halve(stages).modules["decode"].parameters()).dtype.itemsize == 2
    types = element_types(quantised["fp8"][1]["decode"])
    assert types["match"] == TensorProto.FLOAT16
