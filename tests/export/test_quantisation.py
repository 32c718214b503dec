"""int8: convolutions are quantised where that does no harm."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from arnet.export.quantisation import CALIBRATION_EPISODES, QUANTISED, calibration_feeds, quantise


@pytest.fixture(scope="module")
def quantised(graphs, stages, episodes):
    return quantise(graphs, stages, episodes)


def convolutions(model):
    """Of each convolution its weight's channels, out and in, and whether it is quantised."""
    producers = {output: node for node in model.graph.node for output in node.output}
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            made_by = [producers.get(name) for name in node.input[:2]]
            by_int8 = [p is not None and p.op_type == "DequantizeLinear" for p in made_by]
            weight = made_by[1].input[0] if by_int8[1] else node.input[1]
            yield tuple(shapes[weight][:2]), by_int8


def test_convolutions_are_quantised_in_weights_and_activations(quantised) -> None:
    count = 0
    for name in QUANTISED:
        for channels, by_int8 in convolutions(quantised[name]):
            sensitive = min(channels) <= 9
            assert by_int8 == [not sensitive] * 2, (name, channels)
            count += not sensitive
        kinds = {node.op_type for node in quantised[name].graph.node}
        assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert count > 20


def test_the_sensitive_ones_are_left(quantised) -> None:
    left = [c for n in QUANTISED for c, by_int8 in convolutions(quantised[n]) if not any(by_int8)]
    assert (64, 3) in left  # the backbone's first, of pixels
    assert left.count((9, 12)) == 2  # margins of MPM1 and MPM2, as nine products
    assert (1, 12) in left  # those of the ASPP
    assert (1, 2) in left  # CBAM, of the average and the maximum


def test_weights_are_int8_per_channel(quantised) -> None:
    model = quantised["encode_image"]
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    large = [t for t in tensors.values() if len(t.dims) == 4 and t.dims[1] > 9]
    assert large and {tensor.data_type for tensor in large} == {TensorProto.INT8}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in {t.name for t in large}:
            assert list(tensors[node.input[1]].dims) == [tensors[node.input[0]].dims[0]]
    assert len(model.SerializeToString()) < 12_000_000 / 3.5


def test_other_stages_and_the_interface_stay(quantised, graphs) -> None:
    assert quantised.keys() == graphs.keys()
    for name, model in quantised.items():
        onnx.checker.check_model(model, full_check=True)
        if name not in QUANTISED:
            assert model == graphs[name]
        for side in ("input", "output"):
            found, expected = getattr(model.graph, side), getattr(graphs[name].graph, side)
            assert [value.name for value in found] == [value.name for value in expected]
            assert [value.type for value in found] == [value.type for value in expected]


def test_ranges_are_learnt_from_real_episodes(stages, episodes) -> None:
    feeds = calibration_feeds(stages, episodes[:2])
    shots = len(episodes[0].images)
    assert {name: len(given) for name, given in feeds.items()} == {
        "encode_image": 2 * (shots + 1),
        "encode_support": 2 * shots,
        "fuse_support": 2,
        "encode_query": 2,
        "decode": 2,
    }
    for name, given in feeds.items():
        assert list(given[0]) == list(stages.inputs(name))
        assert all(np.isfinite(value).all() for one in given for value in one.values())
    # The last call of each stage is the query's: its photograph, then what follows from it.
    first, second = feeds["decode"]
    assert np.abs(first["query_match"] - second["query_match"]).max() > 1e-3
    assert 0 < len(episodes) <= CALIBRATION_EPISODES


def test_other_photographs_give_other_ranges(quantised, graphs, stages, episodes) -> None:
    dark = [
        replace(e, query=e.query // 8, images=tuple(i // 8 for i in e.images)) for e in episodes[:1]
    ]
    other = quantise({"encode_query": graphs["encode_query"]}, stages, dark)["encode_query"]
    assert other != quantised["encode_query"]
