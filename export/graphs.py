"""The stages as ONNX models."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import onnx
import torch
from onnx import FunctionProto, ModelProto, TensorProto, helper
from torch import Tensor, nn

from arnet.export.operators import DOMAIN, Operator, operators_of
from arnet.export.resampling import Preprocess
from arnet.export.stages import Stages

OPSET = 20
BFLOAT16_OPSET = 22
"""The first one whose convolutions take bfloat16."""
IR_VERSION = 10
_EXAMPLE_SHOTS = 3
_EXAMPLE_CLASSES = 2


@dataclass(frozen=True)
class Input:
    """An input of a stage: its name, an example, and the names of its dynamic dimensions."""

    name: str
    example: Tensor
    dynamic: dict[int, str]


def export_stages(
    stages: Stages, custom_operators: bool = True, opset: int = OPSET
) -> dict[str, ModelProto]:
    """Every stage as a checked ONNX model, with those for the pixels before and after.

    Args:
        stages: the factorised model, of any floating-point type.
        custom_operators: write our operations as nodes of the domain "arnet" with their definition
            as a function beside them; else write what they consist of.
        opset: version of the ONNX operators.
    """
    graphs = {"preprocess": preprocess_graph(stages.size)}
    given: dict[str, Tensor] = {
        "pixels": torch.randn(1, 3, stages.size, stages.size),
        "mask": torch.ones(1, stages.size, stages.size),
    }
    for name, module in stages.modules.items():
        inputs = [_input(stages, tensor, given) for tensor in stages.inputs(name)]
        graphs[name] = to_onnx(module, inputs, stages.outputs(name), custom_operators, opset)
        with torch.no_grad():
            given |= stages.run(name, {item.name: item.example for item in inputs})
    return {**graphs, "postprocess": postprocess_graph(stages.grid)}


def to_onnx(
    module: nn.Module,
    inputs: Sequence[Input],
    outputs: Sequence[str],
    custom_operators: bool,
    opset: int = OPSET,
) -> ModelProto:
    """A module as a checked ONNX model whose inputs, outputs and dimensions have our names."""
    operators = operators_of(module) if custom_operators else []
    for operator in operators:
        operator.custom = True
    examples = tuple(item.example for item in inputs)
    try:
        with _recorded(operators, module, examples) as calls:
            model = _export(module, inputs, outputs, opset)
    finally:
        for operator in operators:
            operator.custom = False
    for operator, tensors in calls.items():
        model.functions.append(_function(operator, tensors, opset))
    if calls:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return checked(model)


def checked(model: ModelProto) -> ModelProto:
    """The model with every shape inferred, after the full check of the standard."""
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def preprocess_graph(size: int) -> ModelProto:
    """uint8 RGB of any size to the square of normalised pixels."""
    return onnx.load_model_from_string(_preprocess(size))


@cache
def _preprocess(size: int) -> bytes:
    """It hangs on the size alone, and takes torch some seconds."""
    example = torch.zeros(size + 3, size + 5, 3, dtype=torch.uint8)
    image = Input("image", example, {0: "height", 1: "width"})
    graph = to_onnx(Preprocess(size), [image], ["pixels"], custom_operators=False)
    return graph.SerializeToString()


def postprocess_graph(grid: tuple[int, int]) -> ModelProto:
    """Margins to probabilities at the photograph's size.

    Written by hand: torch.export has no interpolation whose size is a tensor.
    """
    nodes = [
        helper.make_node("Unsqueeze", ["margins", "channel"], ["maps"]),
        helper.make_node(
            "Resize",
            ["maps", "", "", "size"],
            ["large"],
            axes=[2, 3],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Squeeze", ["large", "channel"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["probability"]),
    ]
    float32, int64 = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "postprocess",
        [
            helper.make_tensor_value_info("margins", float32, ["classes", *grid]),
            helper.make_tensor_value_info("size", int64, [2]),
        ],
        [helper.make_tensor_value_info("probability", float32, ["classes", "height", "width"])],
        [helper.make_tensor("channel", int64, [1], [1])],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return checked(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION))


def _input(stages: Stages, name: str, given: dict[str, Tensor]) -> Input:
    """An input with an example: per shot and per class tensors are stacked as ``decode`` takes."""
    layout = stages.layout
    classes = _EXAMPLE_CLASSES if layout.together else 1
    shots = layout.shots or _EXAMPLE_SHOTS
    total = shots * classes
    # Sizes of 2 and more, and different ones: torch.export takes 0 and 1 for constants.
    if name == "shares":
        example = torch.eye(classes).repeat_interleave(shots, dim=1) / shots
        dynamic = {0: "classes", 1: "shots"} if layout.together else {1: "shots"}
    elif name == "prototypes":
        return Input(name, given["prototype"].repeat(_EXAMPLE_SHOTS, 1), {0: "shots"})
    elif name in layout.per_class:
        example, dynamic = given[name].repeat(classes, 1, 1), {0: "classes"}
    elif name in layout.per_shot:
        repeats = (total, *(1,) * (given[name].dim() - 1))
        example, dynamic = given[name].repeat(repeats), {0: "shots"}
    else:
        return Input(name, given[name], {})
    if layout.shots:
        dynamic = {}
    return Input(name, example, dynamic)


def _export(
    module: nn.Module, inputs: Sequence[Input], outputs: Sequence[str], opset: int
) -> ModelProto:
    varied = tuple(item.dynamic or None for item in inputs)
    names = [item.name for item in inputs]
    variadic = "tensors" in module.forward.__code__.co_varnames[:2]
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(item.example for item in inputs),
            dynamo=True,
            opset_version=opset,
            external_data=False,
            input_names=names,
            output_names=list(outputs),
            dynamic_shapes=(varied,) if variadic else varied,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # Neither paths nor stack traces of this machine, nor what the exporter notes for itself.
    graph = model.graph
    tensors = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for item in (model, graph, *graph.node, *tensors):
        del item.metadata_props[:]
        item.doc_string = ""
    return model


def _function(operator: Operator, tensors: Sequence[Tensor], opset: int) -> FunctionProto:
    """The definition of an operation as an ONNX function, made once for all graphs that have it."""
    key = (
        operator.name,
        json.dumps(operator.attributes()),
        *((tensor.dtype, tensor.shape) for tensor in tensors),
        *(
            (tensor.dtype, tensor.shape, tensor.float().numpy().tobytes())
            for tensor in operator.state_dict().values()
        ),
        opset,
    )
    if key not in _functions:
        _functions[key] = _define(operator, tensors, opset).SerializeToString()
    return FunctionProto.FromString(_functions[key])


_functions: dict[tuple[Hashable, ...], bytes] = {}


def _define(operator: Operator, tensors: Sequence[Tensor], opset: int) -> FunctionProto:
    """The same, made from its definition in torch."""
    names = [f"input{index}" for index in range(len(tensors))]
    shots = {  # the dimensions that are dynamic wherever the operation is used
        "MaskedPool": {1: {0: "shots"}},
        "MaskedPoolResized": {1: {0: "shots"}},
        "MaskedShiftSum": {1: {0: "shots"}, 2: {0: "shots"}, 3: {0: "shots"}},
        "ForgetEnhance": {0: {0: "shots"}},
    }[operator.name]
    inputs = [
        Input(name, tensor, shots.get(index, {}))
        for index, (name, tensor) in enumerate(zip(names, tensors, strict=True))
    ]
    graph = _export(operator, inputs, ["output"], opset).graph
    constants = [
        helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in graph.initializer
    ]
    return helper.make_function(
        DOMAIN,
        operator.name,
        names,
        ["output"],
        [*constants, *graph.node],
        [helper.make_opsetid("", opset)],
        attributes=[*operator.attributes(), "plugin_namespace", "plugin_version", "aot"],
    )


@contextlib.contextmanager
def _recorded(
    operators: Sequence[Operator], module: nn.Module, examples: tuple[Tensor, ...]
) -> Iterator[dict[Operator, tuple[Tensor, ...]]]:
    """Run the module once to see what its operations are given."""
    calls: dict[Operator, tuple[Tensor, ...]] = {}
    hooks = [
        operator.register_forward_pre_hook(lambda o, tensors: calls.__setitem__(o, tensors))
        for operator in operators
    ]
    with torch.no_grad():
        module(*examples)
    for hook in hooks:
        hook.remove()
    yield calls


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress messages and its warnings about itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
