"""The graphs: valid ONNX, with the interface of a bundle, and the numbers of the stages."""

import getpass
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from arnet.export.exporter import serialised
from arnet.export.graphs import (
    OPSET,
    _define,
    _function,
    export_stages,
    postprocess_graph,
    to_onnx,
)
from arnet.export.operators import DOMAIN, MaskedPoolResized
from arnet.export.stages import factorise

C = D = 12
MAP, SHOT, CLASS = (9, 9), "shots", "classes"
# As in the description of bundles, for 65 pixels; a text is a dynamic dimension.
INTERFACE = {
    "preprocess": (
        {"image": ("uint8", ("height", "width", 3))},
        {"pixels": ("float32", (1, 3, 65, 65))},
    ),
    "encode_image": (
        {"pixels": ("float32", (1, 3, 65, 65))},
        {"features": ("float32", (1, C, *MAP))},
    ),
    "encode_support": (
        {"features": ("float32", (1, C, *MAP)), "mask": ("float32", (1, 65, 65))},
        {
            "match": ("float32", (1, D, *MAP)),
            "self": ("float32", (1, D, *MAP)),
            "prototype": ("float32", (1, C)),
        },
    ),
    "fuse_support": (
        {"prototypes": ("float32", (SHOT, C))},
        {"refine": ("float32", (1, 9, D))},
    ),
    "encode_query": (
        {"features": ("float32", (1, C, *MAP))},
        {
            "query_features": ("float32", (1, C, *MAP)),
            "query_match": ("float32", (1, D, *MAP)),
            "query_taps": ("float32", (1, 9 * D, *MAP)),
            "query_refine": ("float32", (1, D, *MAP)),
        },
    ),
    "decode": (
        {
            "query_features": ("float32", (1, C, *MAP)),
            "query_match": ("float32", (1, D, *MAP)),
            "query_taps": ("float32", (1, 9 * D, *MAP)),
            "query_refine": ("float32", (1, D, *MAP)),
            "match": ("float32", (SHOT, D, *MAP)),
            "self": ("float32", (SHOT, D, *MAP)),
            "refine": ("float32", (CLASS, 9, D)),
            "shares": ("float32", (CLASS, SHOT)),
        },
        {
            "margins": ("float32", (CLASS, *MAP)),
            "first": ("float32", (CLASS, *MAP)),
            "supports": ("float32", (SHOT, *MAP)),
        },
    ),
    "postprocess": (
        {"margins": ("float32", (CLASS, *MAP)), "size": ("int64", (2,))},
        {"probability": ("float32", (CLASS, "height", "width"))},
    ),
}
OURS = {
    "encode_support": ["MaskedPool"],
    "fuse_support": ["ForgetEnhance"],
    "decode": ["MaskedPool", "MaskedShiftSum"],
}


def opened(model) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def in_onnx_runtime(models, stages):
    """The same stages, computed by ONNX Runtime."""

    def module(name):
        session, names = opened(models[name]), stages.inputs(name)
        return lambda *tensors: tuple(
            torch.from_numpy(result)
            for result in session.run(
                list(stages.outputs(name)),
                {key: tensor.numpy() for key, tensor in zip(names, tensors, strict=True)},
            )
        )

    return replace(stages, modules={name: module(name) for name in stages.modules})


def tensors(values):
    return {
        value.name: (
            str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim),
        )
        for value in values
    }


@pytest.fixture(params=["custom", "plain"])
def models(request, graphs, plain_graphs):
    """The graphs with our own operations, then those without."""
    return graphs if request.param == "custom" else plain_graphs


def test_every_graph_passes_the_full_check_of_the_standard(models) -> None:
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        standard = [item.version for item in model.opset_import if item.domain == ""]
        assert standard == [OPSET]
        assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_the_interface_is_that_of_a_bundle(models) -> None:
    found = {
        name: (tensors(model.graph.input), tensors(model.graph.output))
        for name, model in models.items()
    }
    assert found == INTERFACE
    # In this order: the engine feeds by name, but the manifest lists them.
    for name, model in models.items():
        assert [value.name for value in model.graph.input] == list(INTERFACE[name][0])
        assert [value.name for value in model.graph.output] == list(INTERFACE[name][1])


def test_every_shape_is_inferred(models) -> None:
    for name, model in models.items():
        known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
        missing = [o for node in model.graph.node for o in node.output if o and o not in known]
        assert not missing, name


def test_our_operations_stand_in_the_graphs_by_name(graphs, plain_graphs) -> None:
    for name, model in graphs.items():
        nodes = [node for node in model.graph.node if node.domain == DOMAIN]
        assert sorted({node.op_type for node in nodes}) == OURS.get(name, [])
        functions = {function.name: function for function in model.functions}
        assert sorted(functions) == OURS.get(name, [])
        assert any(item.domain == DOMAIN for item in model.opset_import) == bool(nodes)
        for node in nodes:
            found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            assert found.pop("plugin_namespace") == DOMAIN.encode()
            assert found.pop("plugin_version") == b"1"
            assert found.pop("aot") == 1
            own = {"MaskedPool": {"area": [1]}, "ForgetEnhance": {"dilations": [1, 2, 4]}}
            assert found == own.get(node.op_type, {})
            function = functions[node.op_type]
            assert function.domain == DOMAIN and function.node
            assert not any(inner.domain for inner in function.node)  # plain ONNX
            assert {a.name for a in node.attribute} <= set(function.attribute)
    for model in plain_graphs.values():
        assert not model.functions
        assert {node.domain for node in model.graph.node} <= {""}
        assert {item.domain for item in model.opset_import} == {""}


def test_the_backbone_is_folded(graphs) -> None:
    kinds = {node.op_type for model in graphs.values() for node in model.graph.node}
    assert "Conv" in kinds
    assert not kinds & {"BatchNormalization", "Dropout", "Loop", "If", "Scan"}


@pytest.mark.parametrize("shots", [(1,), (2,), (5,), (1, 1), (10, 3), (2, 4, 1)], ids=str)
def test_the_graphs_compute_what_the_stages_compute(
    models, stages, shots, make_task, drive, gap
) -> None:
    task = make_task(shots)
    found, expected = drive(in_onnx_runtime(models, stages), task), drive(stages, task)
    assert gap(found, expected) < 1e-5
    assert found["margins"].shape == (len(shots), 9, 9)
    assert found["supports"].shape == (sum(shots), 9, 9)
    assert gap(drive(stages, make_task(shots, seed=1)), expected) > 0.01  # the negative control


@pytest.mark.slow
@pytest.mark.parametrize("custom", [True, False], ids=["custom", "plain"])
@pytest.mark.parametrize(
    "configuration",
    [
        ("fusion=attention", "refine_vector=predicted", "mask=hard"),
        ("fusion=mask", "masked_features=false"),
        ("fusion=mean",),
        ("pairing=concatenate", "pairing_shots=2"),
        ("without=[mpm1]", "pooling=map"),
        ("without=[mpm2, mrm]",),
        ("backbone.output_stride=16", "reduce=false"),
    ],
    ids=" ".join,
)
def test_graphs_of_other_configurations(
    configuration, custom, random_model, make_task, drive, gap, monkeypatch
) -> None:
    stages = factorise(random_model(*(f"model.{override}" for override in configuration)), 65)
    # Stages that neither the configuration nor our operations change are those of other tests.
    changed = set(stages.modules if custom else OURS) & stages.modules.keys()
    if "backbone" not in configuration[0]:
        changed -= {"encode_image"}
    modules = [stages.modules[name] for name in changed]
    monkeypatch.setattr(
        "arnet.export.graphs.to_onnx",
        lambda module, *rest, **how: to_onnx(module, *rest, **how) if module in modules else None,
    )
    monkeypatch.setattr("arnet.export.graphs.preprocess_graph", lambda size: None)
    models = export_stages(stages, custom)
    assert {name for name in stages.modules if models[name] is not None} == changed
    exported = replace(stages, modules={name: stages.modules[name] for name in changed})
    found = in_onnx_runtime(models, exported).modules
    running = replace(stages, modules=stages.modules | found)
    pair = stages.layout.shots
    for shots in [(pair, pair)] if pair else [(1,), (3, 2), (5,)]:
        task = make_task(shots)
        assert gap(drive(running, task), drive(stages, task)) < 1e-5


def test_nothing_of_this_machine_is_in_the_files(exported) -> None:
    for path in exported.path.iterdir():
        content = path.read_bytes()
        for word in (
            str(Path.cwd()),
            str(Path.home()) + "/",
            str(Path(torch.__file__).parent),
            tempfile.gettempdir() + "/",
            "site-packages",
            ".py",
            "stack_trace",
            "Traceback",
            f"/{getpass.getuser()}/",
        ):
            assert word.encode() not in content, (path.name, word)


def test_nothing_but_names_describes_the_nodes(models) -> None:
    for model in models.values():
        nodes = [*model.graph.node, *(n for f in model.functions for n in f.node)]
        tensors = [*model.graph.input, *model.graph.output, *model.graph.value_info]
        for item in (model, model.graph, *nodes, *tensors, *model.graph.initializer):
            assert not item.metadata_props
            assert not item.doc_string


def test_a_stage_exported_again_is_the_same_file(stages, graphs) -> None:
    modules = {name: stages.modules[name] for name in ("encode_image", "encode_support")}
    again = serialised(export_stages(replace(stages, modules=modules)))
    first = serialised(graphs)
    assert set(again) == {f"{n}.onnx" for n in ("preprocess", *modules, "postprocess")}
    for name, content in again.items():
        assert content == first[name], name


def test_a_definition_that_is_kept_is_that_of_the_operation() -> None:
    """It is made once for all graphs; another one is another, and none of them can be spoilt."""
    tensors = torch.rand(1, 4, 3, 3), torch.rand(2, 1, 24, 24)
    operator = MaskedPoolResized("area", 24, (3, 3))
    first = _function(operator, tensors, OPSET)
    expected = first.SerializeToString()
    first.name = "spoilt"
    assert _function(operator, tensors, OPSET).SerializeToString() == expected
    with torch.no_grad():
        operator.average.rows *= 2
    changed = _function(operator, tensors, OPSET).SerializeToString()
    assert changed == _define(operator, tensors, OPSET).SerializeToString() != expected
    half = tuple(tensor.half() for tensor in tensors)
    for other in ((operator, half, OPSET), (operator, tensors, OPSET + 1)):
        kept = _function(*other).SerializeToString()
        assert kept == _define(*other).SerializeToString() != changed


@pytest.mark.parametrize("size", [(65, 65), (37, 83), (200, 131), (5, 1), (1, 1)], ids=str)
def test_probabilities_are_enlarged_as_in_torch(graphs, size) -> None:
    margins = torch.randn(2, 9, 9, generator=torch.Generator().manual_seed(0)) * 3
    feeds = {"margins": margins.numpy(), "size": np.array(size)}
    (found,) = opened(graphs["postprocess"]).run(None, feeds)
    large = F.interpolate(margins[None], size, mode="bilinear")[0].sigmoid().numpy()
    assert found.shape == large.shape
    np.testing.assert_allclose(found, large, rtol=0, atol=1e-5)
    for other in ({"mode": "nearest"}, {"mode": "bilinear", "align_corners": True}):
        wrong = F.interpolate(margins[None], size, **other)[0].sigmoid().numpy()
        # The middle of an odd number of cells is the same for all.
        assert np.abs(found - wrong).max() > 1e-2 or size == (1, 1)


def test_probabilities_are_those_of_any_grid() -> None:
    session = opened(postprocess_graph((3, 5)))
    feeds = {"margins": np.zeros((1, 3, 5), np.float32), "size": np.array([7, 4])}
    assert session.run(None, feeds)[0].tolist() == np.full((1, 7, 4), 0.5).tolist()


@pytest.mark.parametrize("size", [(65, 65), (40, 33), (131, 97), (90, 1), (1, 1)], ids=str)
def test_the_graph_prepares_photographs_as_torch_does(graphs, size) -> None:
    from arnet.data.transforms import prepare

    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    session = opened(graphs["preprocess"])
    (found,) = session.run(None, {"image": image})
    expected = prepare(image, np.zeros(size, np.uint8), 65)[0].numpy()
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=5e-5)
    (swapped,) = session.run(None, {"image": np.ascontiguousarray(image[:, :, ::-1])})
    assert np.abs(swapped[0] - expected).max() > 0.05
