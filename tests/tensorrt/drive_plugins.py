"""Asks our plugins what TensorRT would ask them: cases as JSON in, answers as JSON out.

Each step is that of the library's own order: attributes to a plugin, types, shapes, combinations,
then for the chosen one the launch and the kernel.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import real_tensorrt
from real_tensorrt import Builder, Number

trt = real_tensorrt.load()

from arnet.kernels import plugins  # noqa: E402

TYPES = {
    "float32": trt.DataType.FLOAT,
    "float16": trt.DataType.HALF,
    "bfloat16": trt.DataType.BF16,
}
NAMES = {kind: name for name, kind in TYPES.items()}


class Setter(list[Any]):
    """Stands for ISymExprs, which the library fills the extras into."""

    nbSymExprs = 0  # noqa: N815 - TensorRT's name

    def __setitem__(self, index: Any, value: Any) -> None:
        self.extend([None] * (index + 1 - len(self)))
        super().__setitem__(index, value)


class Launch:
    """Stands for KernelLaunchParams of the library."""


def tensor(shape: list[int], kind: Any) -> Any:
    described, inner = trt.DynamicPluginTensorDesc(), trt.PluginTensorDesc()
    inner.dims, inner.type, inner.format = shape, kind, trt.TensorFormat.LINEAR
    described.desc = inner
    described.min = described.max = described.opt = shape
    return described


def sizes(shapes: list[list[int]]) -> list[list[Number]]:
    return [[Number(size, constant=False) for size in shape] for shape in shapes]


def answer(case: dict[str, Any]) -> dict[str, Any]:
    creator = trt.get_plugin_registry().get_creator(case["op"], "1", "arnet")
    fields = [
        trt.PluginField(name, np.array(numbers, np.int32), trt.PluginFieldType.INT32)
        for name, numbers in case["attributes"].items()
    ]
    plugin = creator.create_plugin(
        case["op"],
        "arnet",
        trt.PluginFieldCollection(fields),
        trt.TensorRTPhase.BUILD,
        trt.QuickPluginCreationRequest.STRICT_AOT,
    )
    builder, shapes = Builder(trt.DimensionOperation), case["shapes"]
    kinds = [TYPES[name] for name in case["types"]]
    ranks = [len(shape) for shape in shapes]
    (result,) = plugin.get_output_data_types(kinds, ranks)
    (shape,) = plugin.get_output_shapes(sizes(shapes), [], builder)
    given = [tensor(*pair) for pair in zip(shapes, kinds, strict=True)]
    made = [tensor([size.value for size in shape], result)]
    combinations = plugin.get_supported_format_combinations([*given, *made], len(given))
    plugin.configure_plugin(given, made)
    (tactic,) = plugin.get_valid_tactics()
    plugin.set_tactic(tactic)
    launch, extras = Launch(), Setter()
    plugin.get_launch_params(sizes(shapes), [*given, *made], len(given), launch, extras, builder)
    name, code = plugin.get_kernel([item.desc for item in given], [made[0].desc])
    text = code.decode()
    assert all(extra.dtype == trt.PluginArgDataType.INT32 for extra in extras)
    assert all(item.format == trt.TensorFormat.LINEAR for item in combinations)
    numbers = {key: value.expr.value for key, value in vars(launch).items()}
    return {
        "entry": name,
        "in_ptx": f".entry {name}(" in text,
        "target": text.split(".target ")[1].split()[0],
        "grid": [numbers[f"grid_{axis}"] for axis in "xyz"],
        "block": [numbers[f"block_{axis}"] for axis in "xyz"],
        "shared": numbers["shared_mem"],
        "extras": [extra.expr.value for extra in extras[: extras.nbSymExprs]],
        "output": [[size.value for size in shape], NAMES[result]],
        "combinations": [NAMES[item.type] for item in combinations],
        "tactic": tactic,
        "fields": [field.name for field in creator.field_names],
    }


def main() -> None:
    job = json.load(sys.stdin)
    for op, changes in job.get("faults", {}).items():
        plugins.PLUGINS[op] = replace(plugins.PLUGINS[op], **changes)
    plugins.register_plugins((8, 0))
    plugins.register_plugins(tuple(job["capability"]))  # a second build in one process
    answers = []
    for case in job["cases"]:
        try:
            answers.append(answer(case))
        except Exception as error:
            answers.append({"error": f"{type(error).__name__}: {error}"})
    sys.stdout.write("\n" + json.dumps({"version": trt.__version__, "answers": answers}) + "\n")


main()
