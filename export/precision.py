"""The number formats of a bundle: computed in, stored in, and what was really built."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from arnet.export.graphs import checked
from arnet.export.resampling import Averaging
from arnet.export.shot_fusion import ShotFusion
from arnet.export.stages import Stages

Compute = Literal["fp32", "fp16", "int8"]
Store = Literal["fp32", "fp16"]

_STORED_FROM = 1024
"""Elements from which on a tensor is stored in half precision."""


def halve(stages: Stages) -> Stages:
    """The stages in float16, with islands in float32.

    The islands are the sums of masked pooling, sigmoids of margins, the means over shots, the gates
    of the CMM (all cast where they are computed) and the averaging of the given mask.
    """
    return _narrowed(stages, torch.float16)


def to_bfloat16(stages: Stages) -> Stages:
    """The stages in bfloat16, with the islands of ``halve``."""
    return _narrowed(stages, torch.bfloat16)


def with_float_ends(model: ModelProto) -> ModelProto:
    """The same model with float32 where its inputs and outputs are bfloat16, which NumPy lacks."""
    model = copy.deepcopy(model)
    graph = model.graph
    ends = [
        value
        for value in (*graph.input, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16
    ]
    inside = {value.name: f"{value.name}.narrow" for value in ends}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inside.get(name, name) for name in names]
    inputs = {value.name for value in graph.input}
    first, last = [], []
    for value in ends:
        outer, inner = value.name, inside[value.name]
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        if outer in inputs:
            first.append(helper.make_node("Cast", [outer], [inner], to=TensorProto.BFLOAT16))
        else:
            last.append(helper.make_node("Cast", [inner], [outer], to=TensorProto.FLOAT))
    nodes = [*first, *graph.node, *last]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return checked(model)


def _narrowed(stages: Stages, dtype: torch.dtype) -> Stages:
    modules = copy.deepcopy(stages.modules)
    for module in modules.values():
        module.to(dtype)
        for part in module.modules():
            if isinstance(part, Averaging | ShotFusion):
                part.float()
    return replace(stages, modules=modules)


def store_half(model: ModelProto) -> ModelProto:
    """The same model with its float32 weights kept as float16; it computes as before.

    An engine undoes the casts once, when it loads the model.
    """
    model = copy.deepcopy(model)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _STORED_FROM:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.stored"))
        casts.append(helper.make_node("Cast", [f"{name}.stored"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return checked(model)


def census(models: Mapping[str, ModelProto]) -> dict[str, dict[str, int]]:
    """For each stage the number of nodes by the type of their first output.

    Nodes that only move or describe numbers, such as Reshape and Shape, count as what they give.
    """
    return {name: _census(model) for name, model in models.items()}


def _census(model: ModelProto) -> dict[str, int]:
    graph = model.graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in [*graph.value_info, *graph.output, *graph.input]
    }
    counts = Counter(
        onnx.TensorProto.DataType.Name(types[node.output[0]]).lower()
        for node in graph.node
        if node.output[0] in types
    )
    names = {"float": "float32", "double": "float64"}
    return {names.get(kind, kind): count for kind, count in sorted(counts.items())}
