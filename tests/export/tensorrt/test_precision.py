"""The graphs that plans are built from are of the precision that was asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from arnet.export.bundle import interface
from arnet.export.graphs import BFLOAT16_OPSET, export_stages
from arnet.export.parity import BOUNDS
from arnet.export.precision import to_bfloat16, with_float_ends
from arnet.export.tensorrt.graphs import convolutions, element_types, for_plugins
from arnet.export.tensorrt.inspection import COMPUTED
from arnet.export.tensorrt.precision import STORED, graphs_for
from arnet.runtime.bundle.plans import PLANNED_STAGES, PRECISIONS


@pytest.fixture(scope="module")
def brain_graphs(graphs, stages, episodes):
    """In bfloat16, as plans are built from them."""
    return graphs_for("bf16", graphs, stages, episodes, custom_operators=True)


def test_every_precision_is_known_everywhere() -> None:
    bounds = {name for name in BOUNDS if " " not in name}
    assert set(PRECISIONS) == set(STORED) == set(COMPUTED) == bounds


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_the_graphs_of_the_bundle_are_built(graphs, stages, precision) -> None:
    assert graphs_for(precision, graphs, stages, [], custom_operators=True) is graphs


def test_bfloat16_is_inside_and_float32_at_the_ends(brain_graphs, graphs) -> None:
    for name, model in brain_graphs.items():
        onnx.checker.check_model(model, full_check=True)
        # The same inputs and outputs as the graphs in the bundle: a state fits either.
        assert interface(name, model) == interface(name, graphs[name])
        if convolutions(graphs[name], "fp32"):
            assert convolutions(model, "bf16") == convolutions(graphs[name], "fp32")
    types = element_types(brain_graphs["decode"])
    counts = Counter(types[n.output[0]] for n in brain_graphs["decode"].graph.node)
    assert counts[TensorProto.BFLOAT16] > counts[TensorProto.FLOAT]


def test_bfloat16_goes_to_the_plugins(brain_graphs) -> None:
    model = for_plugins(brain_graphs["decode"])
    types = element_types(model)
    node = next(node for node in model.graph.node if node.op_type == "MaskedShiftSum")
    kinds = [types[name] for name in (*node.input, *node.output)]
    brain, full = TensorProto.BFLOAT16, TensorProto.FLOAT
    assert kinds == [brain, full, brain, brain, brain]
    blocks = [
        node
        for node in for_plugins(brain_graphs["fuse_support"]).graph.node
        if node.op_type == "ForgetEnhanceBlock"
    ]
    assert len(blocks) == 3


def test_bfloat16_computes_about_the_same(stages) -> None:
    """ONNX Runtime has no bfloat16 on a processor: the modules in torch stand for the graphs."""
    features = torch.randn(1, 12, 9, 9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = stages.modules["encode_query"](features)
        found = to_bfloat16(stages).modules["encode_query"](features.bfloat16())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.bfloat16
        assert 1e-5 < (ours.float() - theirs).abs().max() / theirs.abs().max() < 0.02 or (
            torch.equal(theirs, features)
        )


def test_casts_at_the_ends_change_nothing_else(stages) -> None:
    """With the graph that has fewest operations, in the standard's own evaluator."""
    model = export_stages(to_bfloat16(stages), opset=BFLOAT16_OPSET)["fuse_support"]
    ended = with_float_ends(model)
    assert len(ended.graph.node) == len(model.graph.node) + 2
    assert element_types(ended)["prototypes"] == TensorProto.FLOAT
    vectors = np.random.default_rng(0).standard_normal((1, 12)).astype(np.float32)
    (found,) = ReferenceEvaluator(ended).run(None, {"prototypes": vectors})
    with torch.no_grad():
        expected = stages.modules["fuse_support"](torch.from_numpy(vectors)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_every_stage_that_is_planned_has_a_graph(brain_graphs) -> None:
    assert set(PLANNED_STAGES) <= set(brain_graphs)
