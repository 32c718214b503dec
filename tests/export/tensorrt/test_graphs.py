"""The graphs for TensorRT compute what they did, and every node of our own fits its kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from arnet.export.graphs import export_stages
from arnet.export.precision import halve
from arnet.export.stages import factorise
from arnet.export.tensorrt.graphs import (
    BLOCK,
    STACK,
    convolutions,
    element_types,
    for_plugins,
    plugin_nodes,
)
from arnet.kernels.plugins import PLUGINS
from arnet.kernels.reference import forget_enhance
from arnet.runtime.errors import BuildError


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def prototypes(shots, dtype=np.float32):
    return {"prototypes": np.random.default_rng(shots).standard_normal((shots, 12)).astype(dtype)}


@pytest.mark.parametrize("shots", [1, 2, 3, 5, 9])
def test_a_stack_is_one_node_for_each_block(graphs, shots) -> None:
    before, after = graphs["fuse_support"], for_plugins(graphs["fuse_support"])
    assert plugin_nodes(before) == [STACK] and plugin_nodes(after) == [BLOCK] * 3
    assert [function.name for function in after.functions] == [BLOCK]
    (expected,), (found,) = (run(model, prototypes(shots)) for model in (before, after))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_in_half_precision_the_blocks_are_an_island(half_graphs) -> None:
    """The weights are float32 there, and a kernel takes one type: vectors are cast for them."""
    before, after = half_graphs["fuse_support"], for_plugins(half_graphs["fuse_support"])
    types = element_types(after)
    blocks = [node for node in after.graph.node if node.op_type == BLOCK]
    assert {types[name] for node in blocks for name in (*node.input, *node.output)} == {
        TensorProto.FLOAT
    }
    feeds = prototypes(5, np.float16)
    (expected,), (found,) = (run(model, feeds) for model in (before, after))
    assert found.dtype == expected.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_order_of_the_blocks_matters(graphs) -> None:
    """The negative control: blocks with the dilations of one another compute something else."""
    after = for_plugins(graphs["fuse_support"])
    expected = run(after, prototypes(5))[0]
    blocks = [node for node in after.graph.node if node.op_type == BLOCK]
    for node, dilation in zip(blocks, (4, 2, 1), strict=True):
        next(a for a in node.attribute if a.name == "dilation").ints[:] = [dilation]
    assert np.abs(run(after, prototypes(5))[0] - expected).max() > 1e-3 * np.abs(expected).max()


def test_one_block_is_the_kernels_reference(graphs) -> None:
    after = for_plugins(graphs["fuse_support"])
    node = [node for node in after.graph.node if node.op_type == BLOCK][1]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((6, 5), (3, 15, 5, 2), (3, 15))]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in zip(node.input, arrays, strict=True)
    ]
    result = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "block", values, [result]),
        functions=after.functions,
        opset_imports=after.opset_import,
        ir_version=after.ir_version,
    )
    (found,) = run(model, dict(zip(node.input, arrays, strict=True)))
    expected = forget_enhance(*arrays, block=1, dilation=2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["graphs", "half_graphs"])
def test_every_node_of_ours_is_a_plugin_with_the_types_of_its_kernel(kind, request) -> None:
    models = request.getfixturevalue(kind)
    counts = {name: plugin_nodes(for_plugins(model)) for name, model in models.items()}
    assert counts["encode_support"] == ["MaskedPool"]
    assert counts["decode"] == ["MaskedPool", "MaskedShiftSum"]
    assert counts["encode_image"] == counts["encode_query"] == []
    assert {op for ops in counts.values() for op in ops} == set(PLUGINS) - {"MaskedPoolResized"}


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_a_mask_that_only_the_pooling_wants_goes_to_its_plugin_as_it_is(random_model, half) -> None:
    stages = factorise(random_model("model.masked_features=false"), 65)
    stages = halve(stages) if half else stages
    modules = {name: stages.modules[name] for name in ("encode_image", "encode_support")}
    model = for_plugins(export_stages(replace(stages, modules=modules))["encode_support"])
    assert plugin_nodes(model) == ["MaskedPoolResized"]
    assert [function.name for function in model.functions] == ["MaskedPoolResized"]
    node = next(node for node in model.graph.node if node.op_type == "MaskedPoolResized")
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in (*model.graph.input, *model.graph.value_info)}  # fmt: skip
    assert shapes[node.input[1]] == [1, 1, 65, 65]
    features = torch.randn(1, 12, 9, 9, dtype=torch.float16 if half else torch.float32)
    mask = (torch.rand(1, 65, 65) > 0.5).float()
    found = run(model, {"features": features.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        expected = modules["encode_support"](features, mask)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=2e-2 if half else 1e-5)


def test_a_graph_without_operations_of_ours_stays(plain_graphs) -> None:
    for model in plain_graphs.values():
        assert plugin_nodes(for_plugins(model)) == []
        assert [n.op_type for n in for_plugins(model).graph.node] == [
            n.op_type for n in model.graph.node
        ]


def changed(model, change):
    model = onnx.ModelProto.FromString(model.SerializeToString())
    change(next(node for node in model.graph.node if node.domain == "arnet"))
    return model


def rename(node) -> None:
    node.op_type = "MaskedPoolTwice"


def forget(node) -> None:
    del node.attribute[0]


def lengthen(node) -> None:
    node.attribute[0].ints.append(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [(rename, "no kernel"), (forget, "takes"), (lengthen, "takes")],
)
def test_what_does_not_fit_a_kernel_is_refused(graphs, change, message) -> None:
    model = changed(graphs["encode_support"], change)
    for function in model.functions:
        if change is rename:
            function.name = "MaskedPoolTwice"
    with pytest.raises(BuildError, match=message) as caught:
        for_plugins(model)
    assert "--plugins off" in caught.value.hint


def test_types_that_a_kernel_does_not_take_are_refused(half_graphs, monkeypatch) -> None:
    """Kernels read masks in float32 whatever they compute in; here one that does not."""
    spec = PLUGINS["MaskedPool"]
    features, masks = spec.inputs
    other = replace(spec, inputs=(features, replace(masks, dtype="variant")))
    monkeypatch.setitem(PLUGINS, "MaskedPool", other)
    with pytest.raises(BuildError, match="other types than float16, float32, float16"):
        for_plugins(half_graphs["encode_support"])


def test_convolutions_are_counted_by_what_they_are_computed_from(graphs, half_graphs) -> None:
    assert convolutions(graphs["encode_image"], "fp32") > 10
    assert convolutions(graphs["encode_image"], "fp16") == 0
    assert convolutions(half_graphs["encode_image"], "fp16") > 10
    assert convolutions(graphs["encode_image"], "int8") == 0
    assert convolutions(half_graphs["fuse_support"], "fp16") == 0
