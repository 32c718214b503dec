"""A bundle of hand-made graphs: it finds what has the colour of the supports' objects.

Features are the normalised colours of a 5x5 grid of pixels and a constant; a class is the mean
feature of its objects. All seven stages and their tensors are those of a real bundle.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from arnet.runtime.bundle import (
    MANIFEST,
    CheckpointInfo,
    FileInfo,
    Manifest,
    Precision,
    Preprocessing,
    Stage,
    TensorInfo,
)

SIDE, GRID, CHANNELS = 33, 5, 4
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
MAPS = (1, CHANNELS, GRID, GRID)
_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
}


class Graph:
    """Nodes that are added one by one."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [out], **attributes))
        return out

    def save(self, path: Path, stage: Stage) -> None:
        sides = [
            [helper.make_tensor_value_info(t.name, _TYPES[t.dtype], t.shape) for t in tensors]
            for tensors in (stage.inputs, stage.outputs)
        ]
        graph = helper.make_graph(self.nodes, path.stem, *sides, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())


def make_bundle(
    folder: Path,
    *,
    classes_together: bool = True,
    shots: int | None = None,
    first: bool = True,
    fuse: bool = True,
    state: str = "float32",
    name: str = "tiny",
) -> Path:
    """Write a bundle.

    Args:
        folder: where to.
        classes_together: whether decode takes any number of classes.
        shots: the number per class that decode takes; None for any.
        first: whether decode puts out q1.
        fuse: whether there is a stage fuse_support.
        state: element type of the tensors of a support state.
        name: of the bundle.
    """
    folder.mkdir(parents=True)
    classes = "N" if classes_together else 1
    total = "T" if classes_together or shots is None else shots
    stages = {
        "preprocess": _preprocess(folder),
        "encode_image": _encode_image(folder),
        "encode_support": _encode_support(folder, state),
        "encode_query": _encode_query(folder),
        "decode": _decode(folder, classes, total, first, fuse, state),
        "postprocess": _postprocess(folder),
    }
    if fuse:
        stages["fuse_support"] = _fuse_support(folder, shots or "k", state)
    (folder / "MODEL_CARD.md").write_text("# tiny\n")
    manifest = Manifest(
        producer="arnet tests",
        name=name,
        checkpoint=CheckpointInfo("tiny.safetensors", "0" * 64),
        image_size=SIDE,
        feature_size=(GRID, GRID),
        preprocessing=Preprocessing(mean=MEAN, std=STD),
        precision=Precision("fp32", {"decode": {"float32": 9}}, "fp32"),
        custom_operators=False,
        opset=20,
        classes_together=classes_together,
        shots=shots,
        stages=stages,
        files=files_of(folder),
    )
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return folder


def files_of(folder: Path) -> dict[str, FileInfo]:
    """What the manifest says of the files that lie in a folder."""
    return {
        path.name: FileInfo(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }


def _stage(folder: Path, name: str, graph: Graph, inputs: dict, outputs: dict) -> Stage:
    stage = Stage(
        f"{name}.onnx",
        tuple(TensorInfo(key, *value) for key, value in inputs.items()),
        tuple(TensorInfo(key, *value) for key, value in outputs.items()),
    )
    graph.save(folder / stage.file, stage)
    return stage


def _f32(*shape: int | str) -> tuple[str, tuple[int | str, ...]]:
    return "float32", shape


def _preprocess(folder: Path) -> Stage:
    g = Graph()
    image = g.add("Cast", "image", to=TensorProto.FLOAT)
    image = g.add("Transpose", image, perm=[2, 0, 1])
    image = g.add("Unsqueeze", image, g.constant([0], np.int64))
    sizes = g.constant([1, 3, SIDE, SIDE], np.int64)
    image = g.add("Resize", image, "", "", sizes, mode="linear", antialias=1)
    scale = g.constant(np.reshape(255 * np.array(STD), (1, 3, 1, 1)))
    shift = g.constant(np.reshape(255 * np.array(MEAN), (1, 3, 1, 1)))
    g.add("Div", g.add("Sub", image, shift), scale, out="pixels")
    inputs = {"image": ("uint8", ("H", "W", 3))}
    return _stage(folder, "preprocess", g, inputs, {"pixels": _f32(1, 3, SIDE, SIDE)})


def _encode_image(folder: Path) -> Stage:
    g = Graph()
    weight = np.zeros((CHANNELS, 3, 1, 1))
    weight[[0, 1, 2], [0, 1, 2]] = 1
    bias = g.constant([0, 0, 0, 1])
    g.add("Conv", "pixels", g.constant(weight), bias, out="features", strides=[8, 8])
    return _stage(
        folder, "encode_image", g, {"pixels": _f32(1, 3, SIDE, SIDE)}, {"features": _f32(*MAPS)}
    )


def _encode_support(folder: Path, state: str) -> Stage:
    g = Graph()
    to = _TYPES[state]
    every = [g.constant([value], np.int64) for value in (0, SIDE, 8)]
    mask = g.add("Slice", "mask", every[0], every[1], g.constant([1], np.int64), every[2])
    mask = g.add("Slice", mask, every[0], every[1], g.constant([2], np.int64), every[2])
    mask = g.add("Unsqueeze", mask, g.constant([1], np.int64))
    inside = g.add("Mul", "features", mask)
    axes = g.constant([2, 3], np.int64)
    area = g.add("Add", g.add("ReduceSum", mask, axes, keepdims=0), g.constant(1e-5))
    vector = g.add("Div", g.add("ReduceSum", inside, axes, keepdims=0), area)
    g.add("Cast", vector, to=to, out="prototype")
    g.add("Cast", inside, to=to, out="match")
    g.add("Cast", "features", to=to, out="self")
    inputs = {"features": _f32(*MAPS), "mask": _f32(1, SIDE, SIDE)}
    outputs = {"match": (state, MAPS), "self": (state, MAPS), "prototype": (state, (1, CHANNELS))}
    return _stage(folder, "encode_support", g, inputs, outputs)


def _fuse_support(folder: Path, shots: int | str, state: str) -> Stage:
    g = Graph()
    mean = g.add("ReduceMean", "prototypes", g.constant([0], np.int64), keepdims=1)
    mean = g.add("Unsqueeze", mean, g.constant([1], np.int64))
    g.add("Expand", mean, g.constant([1, 9, CHANNELS], np.int64), out="refine")
    inputs = {"prototypes": (state, (shots, CHANNELS))}
    return _stage(folder, "fuse_support", g, inputs, {"refine": (state, (1, 9, CHANNELS))})


def _encode_query(folder: Path) -> Stage:
    g = Graph()
    for name in ("query_features", "query_match", "query_refine"):
        g.add("Identity", "features", out=name)
    g.add("Concat", *["features"] * 9, out="query_taps", axis=1)
    outputs = {n: _f32(*MAPS) for n in ("query_features", "query_match", "query_refine")}
    outputs["query_taps"] = _f32(1, 9 * CHANNELS, GRID, GRID)
    return _stage(folder, "encode_query", g, {"features": _f32(*MAPS)}, outputs)


def _decode(
    folder: Path, classes: int | str, total: int | str, first: bool, fuse: bool, state: str
) -> Stage:
    g = Graph()
    shot = (total, *MAPS[1:])
    taps = g.add("Slice", "query_taps", *(g.constant([v], np.int64) for v in (0, CHANNELS, 1)))
    axis = g.constant([1], np.int64)

    def stored(name: str) -> str:
        return g.add("Cast", name, to=TensorProto.FLOAT)

    # s: what of each support looks like its own mean inside the query's taps.
    alike = g.add("Mul", stored("self"), g.add("Add", taps, "query_features"))
    g.add("ReduceSum", alike, axis, out="supports", keepdims=0)
    # q1: the mean over the shots of how alike query and masked support are.
    alike = g.add("ReduceSum", g.add("Mul", stored("match"), "query_match"), axis, keepdims=0)
    flat = g.add("Reshape", alike, g.constant([0, GRID * GRID], np.int64))
    mean = g.add("MatMul", "shares", flat)
    q1 = g.add("Reshape", mean, g.constant([0, GRID, GRID], np.int64), out="first" if first else "")
    # q2: the query's colours times the class's mean colour.
    if fuse:
        vector = g.add("ReduceMean", stored("refine"), axis, keepdims=0)
    else:
        vector = g.add("MatMul", "shares", stored("prototype"))
    vector = g.add("Unsqueeze", vector, g.constant([2, 3], np.int64))
    dot = g.add("ReduceSum", g.add("Mul", vector, "query_refine"), axis, keepdims=0)
    dot = g.add("Add", dot, g.add("Mul", q1, g.constant(1e-3)))
    g.add("Sub", dot, g.constant(3.0), out="margins")
    inputs = {n: _f32(*MAPS) for n in ("query_features", "query_match", "query_refine")}
    inputs |= {"query_taps": _f32(1, 9 * CHANNELS, GRID, GRID), "shares": _f32(classes, total)}
    inputs |= {"match": (state, shot), "self": (state, shot)}
    if fuse:
        inputs["refine"] = (state, (classes, 9, CHANNELS))
    else:
        inputs["prototype"] = (state, (total, CHANNELS))
    outputs = {"margins": _f32(classes, GRID, GRID), "supports": _f32(total, GRID, GRID)}
    if first:
        outputs["first"] = _f32(classes, GRID, GRID)
    return _stage(folder, "decode", g, inputs, outputs)


def _postprocess(folder: Path) -> Stage:
    g = Graph()
    maps = g.add("Unsqueeze", "margins", g.constant([0], np.int64))
    count = g.add("Shape", maps, start=0, end=2)
    sizes = g.add("Concat", count, "size", axis=0)
    large = g.add("Resize", maps, "", "", sizes, mode="linear")
    large = g.add("Squeeze", large, g.constant([0], np.int64))
    g.add("Sigmoid", large, out="probability")
    inputs = {"margins": _f32("n", GRID, GRID), "size": ("int64", (2,))}
    return _stage(folder, "postprocess", g, inputs, {"probability": _f32("n", "H", "W")})
