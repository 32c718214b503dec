"""Number formats: what is computed and stored in them is what was asked for, and is counted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from arnet.export.exporter import serialised
from arnet.export.precision import census, halve, store_half

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
# In these the numbers of a stage come in and go out in float32, whatever it computes in.
IN_FLOAT32 = {"pixels", "mask", "shares", "margins", "first", "supports", "probability"}


def element_types(model):
    graph = model.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def feeds_of(model, seed=0):
    """Noise for every input, with 3 shots and 2 classes."""
    rng = np.random.default_rng(seed)
    sizes = {"shots": 3, "classes": 2}
    feeds = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [sizes.get(d.dim_param, d.dim_value) for d in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[value.name] = rng.random(shape).astype(dtype)
    return feeds


class TestHalf:
    def test_convolutions_and_large_products_are_in_half_precision(self, half_graphs) -> None:
        heavy = Counter()
        for name, model in half_graphs.items():
            if name == "preprocess":
                continue
            types = element_types(model)
            for node in model.graph.node:
                if node.op_type in ("Conv", "MatMul", "MaskedPool", "MaskedShiftSum"):
                    heavy[node.op_type, types[node.output[0]]] += 1
        assert heavy["Conv", HALF] > 30 and heavy["Conv", FLOAT] == 0
        assert heavy["MaskedPool", HALF] == 2 and heavy["MaskedShiftSum", HALF] == 1
        # In float32: the averaging of the mask, two, and the means over the shots, two.
        assert heavy["MatMul", FLOAT] == 4 and heavy["MatMul", HALF] >= 4

    def test_sums_and_gates_are_in_single_precision(self, half_graphs) -> None:
        for stage, name, kinds in (
            ("decode", "MaskedPool", {"MatMul", "Div"}),
            ("fuse_support", "ForgetEnhance", {"Conv", "Sigmoid", "Tanh"}),
        ):
            function = next(f for f in half_graphs[stage].functions if f.name == name)
            casts = [
                helper.get_attribute_value(node.attribute[0])
                for node in function.node
                if node.op_type == "Cast"
            ]
            assert FLOAT in casts and casts[-1] == HALF
            assert kinds <= {node.op_type for node in function.node}
        for stage, part in (("encode_support", "average"), ("fuse_support", "fusion")):
            weights = half_graphs[stage].graph.initializer
            own = {tensor.data_type for tensor in weights if part in tensor.name}
            assert own == {FLOAT}, stage
        decode = half_graphs["decode"]
        types = element_types(decode)
        of_masks = [n for n in decode.graph.node if n.op_type == "Sigmoid"]
        assert [types[n.output[0]] for n in of_masks].count(FLOAT) == 2  # q1 and s; CBAM has two

    def test_the_interface_is_half_but_for_pixels_masks_and_answers(self, half_graphs) -> None:
        for name, model in half_graphs.items():
            for value in (*model.graph.input, *model.graph.output):
                if value.name not in {"image", "size"}:
                    expected = FLOAT if value.name in IN_FLOAT32 else HALF
                    assert value.type.tensor_type.elem_type == expected, (name, value.name)

    def test_weights_are_stored_in_half_precision(self, graphs, half_graphs) -> None:
        for name in ("encode_image", "encode_query", "decode"):
            half, whole = (len(serialised(m)[f"{name}.onnx"]) for m in (half_graphs, graphs))
            assert half < 0.85 * whole if name == "decode" else half < 0.6 * whole

    def test_it_computes_nearly_the_same(self, graphs, half_graphs) -> None:
        for stage in ("encode_support", "fuse_support", "encode_query", "decode"):
            feeds = feeds_of(half_graphs[stage])
            singles = {name: value.astype(np.float32) for name, value in feeds.items()}
            halves, wholes = run(half_graphs[stage], feeds), run(graphs[stage], singles)
            for half, whole in zip(halves, wholes, strict=True):
                assert np.abs(half - whole).max() < 0.02 * np.abs(whole).max()
            assert any(not np.array_equal(*pair) for pair in zip(halves, wholes, strict=True)), (
                stage
            )

    def test_the_stages_themselves_stay_in_single_precision(self, stages) -> None:
        halved = halve(stages)
        for name, module in halved.modules.items():
            assert torch.float16 in {tensor.dtype for tensor in module.state_dict().values()}
            own = {tensor.dtype for tensor in stages.modules[name].state_dict().values()}
            assert own == {torch.float32}
        assert replace(halved, modules=stages.modules) == stages


class TestStore:
    def test_a_file_is_halved(self, graphs) -> None:
        stored = {"encode_image": store_half(graphs["encode_image"])}
        size = len(serialised(stored)["encode_image.onnx"])
        assert size < 0.52 * len(serialised(graphs)["encode_image.onnx"])

    def test_it_computes_in_single_precision_with_rounded_weights(self, graphs) -> None:
        for stage in ("encode_image", "encode_query"):
            rounded = onnx.ModelProto()
            rounded.CopyFrom(graphs[stage])
            for tensor in rounded.graph.initializer:
                values = numpy_helper.to_array(tensor)
                if values.dtype == np.float32 and values.size >= 1024:
                    values = values.astype(np.float16).astype(np.float32)
                    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            stored, feeds = store_half(graphs[stage]), feeds_of(graphs[stage])
            found, expected = run(stored, feeds), run(rounded, feeds)
            for ours, other in zip(found, expected, strict=True):
                assert ours.dtype == np.float32
                np.testing.assert_array_equal(ours, other)
            # The negative control: weights that are not rounded.
            pairs = zip(found, run(graphs[stage], feeds), strict=True)
            assert any(not np.array_equal(*pair) for pair in pairs)
            for side in ("input", "output"):
                assert getattr(stored.graph, side) == getattr(graphs[stage].graph, side)

    @pytest.mark.parametrize(
        ("values", "kept"),
        [
            (np.ones(1024, np.float32), np.float16),
            (np.ones(1023, np.float32), np.float32),
            (np.full(2000, 7e4, np.float32), np.float32),  # float16 ends at 65504
            (np.ones(2000, np.int64), np.int64),
        ],
        ids=["large", "small", "too great", "whole numbers"],
    )
    def test_what_is_stored_in_half_precision(self, values, kept) -> None:
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "weight"], ["y"])],
            "add",
            [helper.make_tensor_value_info("x", kind, [len(values)])],
            [helper.make_tensor_value_info("y", kind, [len(values)])],
            [numpy_helper.from_array(values, "weight")],
        )
        opset = [helper.make_opsetid("", 20)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        stored = store_half(model)
        (weight,) = stored.graph.initializer
        assert numpy_helper.to_array(weight).dtype == kept
        (found,) = run(stored, {"x": np.zeros_like(values)})
        np.testing.assert_array_equal(found, values)
        assert numpy_helper.to_array(model.graph.initializer[0]).dtype == values.dtype


class TestCensus:
    def test_nodes_are_counted_by_the_type_they_give(self, graphs, half_graphs) -> None:
        found = census(graphs)
        assert found.keys() == graphs.keys()
        for name, counts in found.items():
            assert sum(counts.values()) == len(graphs[name].graph.node)
        assert set(found["encode_image"]) == {"float32"}
        assert {"float64", "uint8", "float32", "int64"} == set(found["preprocess"])
        half = census(half_graphs)
        assert set(half["encode_image"]) == {"float16"}
        assert half["decode"]["float16"] > half["decode"]["float32"] > 0
        assert set(half["postprocess"]) == {"float32"}
