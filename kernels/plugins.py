"""The kernels as TensorRT plugins, derived from their specs.

A plugin of ``tensorrt.plugin`` with an ahead-of-time implementation: at the build TensorRT is given
PTX, the kernel's name and expressions for its launch, and keeps them in the plan, which then needs
neither Python nor this package. TensorRT calls ``kernel(inputs..., int32 extras..., outputs...)``,
which is the order of every ``KernelSpec``.

TensorRT reads the signatures of what is registered, with real types, not with texts: they are made
here, and this module does without ``from __future__ import annotations``.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.binaries import PREBUILT, compiled, prepared
from arnet.kernels.catalogue import (
    FORGET_ENHANCE,
    MASKED_POOL,
    MASKED_POOL_RESIZED,
    MASKED_SHIFT_SUM,
)
from arnet.kernels.errors import KernelError
from arnet.kernels.expressions import evaluate
from arnet.kernels.spec import VARIANTS, KernelSpec, bits_of

NAMESPACE = "arnet"
VERSION = "1"
"""The only version that ``tensorrt.plugin`` knows."""

PLUGINS: dict[str, KernelSpec] = {
    "MaskedPool": MASKED_POOL,
    "MaskedPoolResized": MASKED_POOL_RESIZED,
    "MaskedShiftSum": MASKED_SHIFT_SUM,
    "ForgetEnhanceBlock": FORGET_ENHANCE,
}
"""The kernel of each op_type. An attribute of the node is a parameter, a list of one number."""

_TYPES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16"}
_TACTIC = 1  # any positive number: there is one way to run each kernel


@dataclass
class Plugin:
    """One kernel as TensorRT asks for it.

    Attributes:
        spec: the kernel.
        capability: compute capability that the PTX is for; a newer GPU takes it, too.
    """

    spec: KernelSpec
    capability: tuple[int, int]

    def describe(self, *inputs: Any, **attributes: NDArray[Any]) -> Any:
        """Shape and type of the output, for symbolic shapes of the inputs."""
        values = self._values(inputs, [attributes[name] for name in self.spec.parameters])
        (output,) = self.spec.outputs
        shape = tuple(evaluate(text, values) for text in output.shape)
        variant = self._variant(inputs)
        if self.spec.dtype(output, variant) != variant:
            raise KernelError(f"{self.spec.name} puts out another type than it reads.")
        return _plugin().from_shape_expr(shape, inputs[self._typed()].dtype)

    def combinations(self, *_: Any) -> list[Any]:
        """The types that inputs and output may have together, all with plain strides."""
        tensors = (*self.spec.inputs, *self.spec.outputs)
        return [
            _plugin().AutoTuneCombination(
                ", ".join(_TYPES[self.spec.dtype(tensor, variant)] for tensor in tensors),
                "LINEAR",
                [_TACTIC],
            )
            for variant in VARIANTS
        ]

    def implement(self, *arguments: Any) -> tuple[str, bytes, Any, Any]:
        """Name of the kernel, its PTX, the launch and the extras, for inputs and attributes."""
        count = len(self.spec.inputs)
        inputs, attributes = arguments[:count], arguments[count:-2]  # then outputs and tactic
        values = self._values(inputs, attributes)
        symbolic = _plugin()
        functions = {"cdiv": symbolic.cdiv, "min": symbolic.min, "max": symbolic.max}

        def all_of(texts: Sequence[str]) -> list[Any]:
            return [symbolic.SymInt32(evaluate(text, values, functions)) for text in texts]

        grid, block = all_of(self.spec.grid), all_of(self.spec.block)
        launch = symbolic.KernelLaunchParams()
        launch.grid_x, launch.grid_y, launch.grid_z = grid
        launch.block_x, launch.block_y, launch.block_z = block
        (launch.shared_mem,) = all_of([self.spec.shared])
        extras = symbolic.SymIntExprs(len(self.spec.extras))
        for index, extra in enumerate(all_of(self.spec.extras)):
            extras[index] = extra
        code = ptx(self.spec.source, self.capability)
        return self.spec.entry(self._variant(inputs)), code, launch, extras

    def _values(self, inputs: Sequence[Any], attributes: Sequence[NDArray[Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for (name, kind), numbers in zip(self.spec.parameters.items(), attributes, strict=True):
            (number,) = numbers
            values[name] = bits_of(float(number)) if kind is float else int(number)
        for tensor, found in zip(self.spec.inputs, inputs, strict=True):
            for text, size in zip(tensor.shape, found.shape_expr, strict=True):
                if text.isidentifier():
                    values.setdefault(text, size)
        return values

    def _typed(self) -> int:
        """Number of the first input whose type chooses the entry."""
        return [tensor.dtype for tensor in self.spec.inputs].index("variant")

    def _variant(self, inputs: Sequence[Any]) -> str:
        types = import_module("tensorrt").DataType
        known = {types.FLOAT: "float32", types.HALF: "float16", types.BF16: "bfloat16"}
        return known[inputs[self._typed()].dtype]


def ptx(source: str, capability: tuple[int, int]) -> bytes:
    """PTX of a source for a compute capability: compiled, else what is shipped.

    Raises:
        KernelError: if there is none.
    """
    try:
        return compiled(source, f"compute_{capability[0]}{capability[1]}")
    except KernelError:
        shipped = prepared(PREBUILT, source, capability)
        if shipped is None or not shipped.is_ptx:
            raise
        return shipped.code


def cuda_of(code: bytes) -> tuple[int, int]:
    """The least CUDA whose driver takes some PTX: 9.0 came with CUDA 13.0, and so on.

    Raises:
        KernelError: it is no PTX.
    """
    found = re.search(rb"^\.version (\d+)\.(\d+)", code, re.MULTILINE)
    if found is None:
        raise KernelError("this is no PTX: it has no .version.", "Install arnet again.")
    major, minor = int(found[1]), int(found[2])
    return major + 4, minor if major >= 9 else 0  # the minors of CUDA 12 do not follow


_REGISTERED: dict[str, Plugin] = {}  # TensorRT's registry is of the process and keeps them for good


def register_plugins(capability: tuple[int, int]) -> None:
    """Make TensorRT of this process know the kernels, for plans of a compute capability.

    Args:
        capability: of the GPU, or the least of those that the plans are to run on.
    """
    for op, spec in PLUGINS.items():
        if op in _REGISTERED:
            _REGISTERED[op].capability = capability
        else:
            _REGISTERED[op] = Plugin(spec, capability)
            _register(op, _REGISTERED[op])


def _register(op: str, plugin: Plugin) -> None:
    symbolic, name = _plugin(), f"{NAMESPACE}::{op}"
    tensor, spec = symbolic.TensorDesc, plugin.spec
    inputs = {item.name: tensor for item in spec.inputs}
    types = {int: NDArray[np.int32], float: NDArray[np.float32]}
    attributes = {key: types[kind] for key, kind in spec.parameters.items()}
    several: Any = tuple  # types that are known when this runs only
    outputs = {"outputs": several[tensor]}
    made = several[str | bytes, str | bytes, symbolic.KernelLaunchParams, symbolic.SymExprs]
    described = _signed(plugin.describe, inputs | attributes, tensor)
    combined = _signed(plugin.combinations, inputs | outputs, symbolic.AutoTuneCombination)
    implemented = _signed(plugin.implement, inputs | attributes | outputs | {"tactic": int}, made)
    symbolic.register(name)(described)
    symbolic.autotune(name)(combined)
    symbolic.aot_impl(name)(implemented)


def _signed(function: Callable[..., Any], parameters: Mapping[str, Any], result: Any) -> Any:
    """The function with the signature that TensorRT is to read."""

    def call(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind, annotation=given) for name, given in parameters.items()],
        return_annotation=result,
    )
    return call


def _plugin() -> Any:
    return import_module("tensorrt.plugin")
