"""The graphs as TensorRT builds them: every operation of our own is a node for one launch.

An ahead-of-time plugin is one kernel, and forget-and-enhance waits for the whole grid after every
block: its node becomes one node for each block. Types are those of the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import (
    AttributeProto,
    FunctionProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from arnet.export.graphs import checked
from arnet.export.operators import DOMAIN
from arnet.kernels.plugins import PLUGINS, VERSION
from arnet.kernels.spec import VARIANTS
from arnet.runtime.errors import BuildError

STACK, BLOCK = "ForgetEnhance", "ForgetEnhanceBlock"
_TYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_PLUGIN: dict[str, Any] = {"plugin_namespace": DOMAIN, "plugin_version": VERSION, "aot": 1}


def for_plugins(model: ModelProto) -> ModelProto:
    """A copy of a model whose own operations are the plugins of ``arnet.kernels.plugins``.

    Raises:
        BuildError: an operation has no kernel, or other types or attributes than its kernel.
    """
    types = element_types(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes += _blocks(node, model, types) if _is(node, STACK) else [node]
    changed = ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:], changed.functions[:], changed.graph.value_info[:]
    changed.graph.node.extend(nodes)
    changed.functions.extend(f for f in model.functions if f.name != STACK)
    if any(_is(node, BLOCK) for node in nodes):
        changed.functions.append(block_function(opset_of(model)))
    changed = checked(changed)
    _check(changed)
    return changed


def plugin_nodes(model: ModelProto) -> list[str]:
    """The op_type of each node that TensorRT is to build as a plugin."""
    return [node.op_type for node in model.graph.node if node.domain == DOMAIN]


def convolutions(model: ModelProto, precision: str) -> int:
    """How many convolutions are computed from the type of a precision; see ``check_built``."""
    if precision in ("int8", "fp8"):
        quantised = {
            node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
        }
        return sum(n.op_type == "Conv" and n.input[0] in quantised for n in model.graph.node)
    wanted = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}.get(
        precision, TensorProto.FLOAT
    )
    types = element_types(model)
    return sum(n.op_type == "Conv" and types.get(n.input[0]) == wanted for n in model.graph.node)


def element_types(model: ModelProto) -> dict[str, int]:
    """The type of every tensor of a graph whose shapes were inferred."""
    graph = model.graph
    values: list[ValueInfoProto] = [*graph.value_info, *graph.input, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def opset_of(model: ModelProto) -> int:
    """Version of the ONNX operators of a model."""
    return next(item.version for item in model.opset_import if not item.domain)


def block_function(opset: int) -> FunctionProto:
    """One block of forget-and-enhance in ONNX's own operations: eq. 8, for what has no kernel."""
    c = helper.make_node

    def given(name: str, attribute: str) -> NodeProto:
        node = c("Constant", [], [name])
        node.attribute.append(
            AttributeProto(name="value_ints", ref_attr_name=attribute, type=AttributeProto.INTS)
        )
        return node

    def number(name: str, *values: int) -> NodeProto:
        return c("Constant", [], [name], value_ints=list(values))

    convolve = c("Conv", ["padded", "weight", "bias"], ["gates"])
    convolve.attribute.append(
        AttributeProto(name="dilations", ref_attr_name="dilation", type=AttributeProto.INTS)
    )
    nodes = [
        given("index", "block"),
        given("step", "dilation"),
        number("zero", 0),
        number("one", 1),
        number("two", 2),
        c("Gather", ["weights", "index"], ["weight4"], axis=0),
        c("Squeeze", ["weight4", "zero"], ["weight"]),
        c("Gather", ["biases", "index"], ["bias2"], axis=0),
        c("Squeeze", ["bias2", "zero"], ["bias"]),
        # The past alone is padded: (kernel - 1) * dilation zeros before the first vector.
        c("Shape", ["weight"], ["kernel"], start=2, end=3),
        c("Sub", ["kernel", "one"], ["before"]),
        c("Mul", ["before", "step"], ["past"]),
        c("Concat", ["past", "zero"], ["pads"], axis=0),
        c("Transpose", ["vectors"], ["steps"], perm=[1, 0]),
        c("Unsqueeze", ["steps", "zero"], ["x"]),
        c("Pad", ["x", "pads", "", "two"], ["padded"]),
        convolve,
        c("Split", ["gates"], ["forget", "update", "enhance"], axis=1, num_outputs=3),
        c("Sigmoid", ["forget"], ["kept"]),
        c("Sigmoid", ["enhance"], ["added"]),
        c("Tanh", ["update"], ["new"]),
        c("Mul", ["x", "kept"], ["old"]),
        c("Mul", ["new", "added"], ["more"]),
        c("Add", ["old", "more"], ["sum"]),
        c("Squeeze", ["sum", "zero"], ["flat"]),
        c("Transpose", ["flat"], ["result"], perm=[1, 0]),
    ]
    return helper.make_function(
        DOMAIN,
        BLOCK,
        ["vectors", "weights", "biases"],
        ["result"],
        nodes,
        [helper.make_opsetid("", opset)],
        attributes=["block", "dilation", *_PLUGIN],
    )


def _blocks(node: NodeProto, model: ModelProto, types: dict[str, int]) -> Iterator[NodeProto]:
    """One node for each block of a stack, computed in the type of the weights."""
    vectors, weights, biases = node.input
    (dilations,) = (a.ints for a in node.attribute if a.name == "dilations")
    if types[vectors] != types[weights]:
        yield helper.make_node("Cast", [vectors], [f"{vectors}.wide"], to=types[weights])
        vectors = f"{vectors}.wide"
    for block, dilation in enumerate(dilations):
        last = block == len(dilations) - 1
        result = f"{node.output[0]}.block{block}"
        if last and types[node.output[0]] == types[weights]:
            result = node.output[0]
        yield helper.make_node(
            BLOCK,
            [vectors, weights, biases],
            [result],
            name=f"{node.name}.block{block}",
            domain=DOMAIN,
            block=[block],
            dilation=[dilation],
            **_PLUGIN,
        )
        vectors = result
    if vectors != node.output[0]:
        yield helper.make_node("Cast", [vectors], [node.output[0]], to=types[node.output[0]])


def _check(model: ModelProto) -> None:
    types = element_types(model)
    for node in model.graph.node:
        if node.domain != DOMAIN:
            continue
        if node.op_type not in PLUGINS:
            raise _wrong(node, f"there is no kernel of that name, only {', '.join(PLUGINS)}")
        spec = PLUGINS[node.op_type]
        found = [_NAMES.get(types[name], "another type") for name in (*node.input, *node.output)]
        tensors = (*spec.inputs, *spec.outputs)
        possible = [[spec.dtype(tensor, variant) for tensor in tensors] for variant in VARIANTS]
        if found not in possible:
            raise _wrong(node, f"its kernel takes other types than {', '.join(found)}")
        given = {a.name: len(a.ints) for a in node.attribute if a.name not in _PLUGIN}
        if given != dict.fromkeys(spec.parameters, 1):
            raise _wrong(node, f"its kernel takes {list(spec.parameters)}, not {list(given)}")


def _is(node: NodeProto, kind: str) -> bool:
    return bool(node.domain == DOMAIN and node.op_type == kind)


def _wrong(node: NodeProto, why: str) -> BuildError:
    return BuildError(
        f"the node {node.op_type} '{node.name}' cannot be a plugin: {why}",
        "Export with --plugins off.",
    )
