"""Quantised graphs in the form that TensorRT takes: symmetric, biases left as they are.

Pairs of QuantizeLinear and DequantizeLinear stand before the convolutions: for int8 with a scale
for each output channel of the weights and one for the activations, for fp8 (E4M3) with one for
either. Scales are the largest value seen, divided by the largest number of the type.

ONNX Runtime's own quantisation, which ``--engine onnx`` uses, has zero points and int32 biases:
TensorRT refuses them. ONNX Runtime in turn runs fp8 wrongly where it optimises (1.31 drops a Relu
before QuantizeLinear): graphs of fp8 are for TensorRT alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from arnet.export.episodes import RealEpisode
from arnet.export.graphs import checked
from arnet.export.quantisation import (
    CALIBRATION_EPISODES,
    QUANTISED,
    Feeds,
    calibration_feeds,
    sensitive,
)
from arnet.export.stages import Stages
from arnet.export.tensorrt.graphs import element_types

_TYPES = {"int8": (TensorProto.INT8, 127.0), "fp8": (TensorProto.FLOAT8E4M3FN, 448.0)}
"""The type of a precision and its largest number."""

_LEAST = 1e-6  # of a scale, for what was never anything but zero


def quantise_symmetric(
    models: Mapping[str, ModelProto],
    stages: Stages,
    episodes: Sequence[RealEpisode],
    precision: str = "int8",
) -> dict[str, ModelProto]:
    """The same stages with quantised convolutions, all but the sensitive ones.

    Args:
        models: in float32 or float16, which is what is not quantised stays in.
        stages: the factorised model that they are of, in float32.
        episodes: real ones, from which the ranges of the activations are learnt.
        precision: "int8" or "fp8".
    """
    feeds = calibration_feeds(stages, episodes[:CALIBRATION_EPISODES])
    return {
        name: _quantised(model, feeds[name], precision) if name in QUANTISED else model
        for name, model in models.items()
    }


def largest_values(
    model: ModelProto, tensors: Sequence[str], feeds: Sequence[Feeds]
) -> dict[str, float]:
    """The largest absolute value of each tensor of a graph over all feeds."""
    probed = ModelProto()
    probed.CopyFrom(model)
    types = element_types(model)
    known = {output.name for output in probed.graph.output}
    probed.graph.output.extend(
        helper.make_tensor_value_info(name, types[name], None)
        for name in tensors
        if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = dict.fromkeys(tensors, 0.0)
    kinds = {i.name: helper.tensor_dtype_to_np_dtype(types[i.name]) for i in model.graph.input}
    for feed in feeds:
        given = {name: value.astype(kinds[name]) for name, value in feed.items()}
        for name, value in zip(tensors, session.run(list(tensors), given), strict=True):
            found[name] = max(found[name], float(np.abs(value.astype(np.float32)).max()))
    return found


def _quantised(model: ModelProto, feeds: Sequence[Feeds], precision: str) -> ModelProto:
    kind, most = _TYPES[precision]
    spared = set(sensitive(model))
    chosen = [n for n in model.graph.node if n.op_type == "Conv" and n.name not in spared]
    activations = sorted({node.input[0] for node in chosen})
    if not activations:
        return model
    ranges = largest_values(model, activations, feeds)
    changed = ModelProto()
    changed.CopyFrom(model)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scale_type = weights[chosen[0].input[1]].dtype
    pairs: dict[str, list[NodeProto]] = {}

    def pair(name: str, largest: NDArray[np.float32] | np.float32) -> str:
        """Quantise a tensor and back, once; a scale for each first index, or one for all."""
        result = f"{name}.dequantised"
        if name not in pairs:
            scale = np.maximum(largest / most, _LEAST).astype(scale_type)
            zero = helper.make_tensor(f"{name}.zero", kind, scale.shape, np.zeros(scale.size))
            changed.graph.initializer.extend(
                [numpy_helper.from_array(scale, f"{name}.scale"), zero]
            )
            ends = [f"{name}.scale", f"{name}.zero"]
            axis: dict[str, Any] = {"axis": 0} if scale.ndim else {}
            steps = (
                ("QuantizeLinear", name, f"{name}.quantised"),
                ("DequantizeLinear", f"{name}.quantised", result),
            )
            pairs[name] = [
                helper.make_node(op, [given, *ends], [made], f"{made}.{op}", **axis)
                for op, given, made in steps
            ]
        return result

    for node in changed.graph.node:
        if node.op_type != "Conv" or node.name in spared:
            continue
        values = np.abs(weights[node.input[1]].astype(np.float32))
        per = values.reshape(len(values), -1).max(axis=1) if precision == "int8" else values.max()
        node.input[0] = pair(node.input[0], np.float32(ranges[node.input[0]]))
        node.input[1] = pair(node.input[1], np.asarray(per, np.float32))
    _insert(changed, pairs)
    return checked(changed)


def _insert(model: ModelProto, pairs: Mapping[str, list[NodeProto]]) -> None:
    """Put each pair behind what it takes: nodes stand in the order in which they can run."""
    made = {name for node in model.graph.node for name in node.output}
    nodes = [node for name, steps in pairs.items() if name not in made for node in steps]
    for node in model.graph.node:
        nodes.append(node)
        for name in node.output:
            nodes += pairs.get(name, [])
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
