"""What is known of a kernel without compiling it: arguments, shapes and launch arithmetic.

A launcher, a TensorRT plugin, a custom operator of PyTorch and the tests all take it from here, so
that the order of arguments and the number of blocks stand in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.errors import KernelError
from arnet.kernels.expressions import evaluate, names_in

VARIANTS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
"""The number formats that every kernel comes in, and how its entries end."""

MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Tensor:
    """A tensor that a kernel reads or writes; contiguous, in the GPU's memory.

    Attributes:
        name: as in the kernel's source.
        shape: an expression for each dimension. A bare name gets its value from an input's shape.
        dtype: of NumPy, or "variant": that of the entry, one of ``VARIANTS``.
    """

    name: str
    shape: tuple[str, ...]
    dtype: str = "variant"


@dataclass(frozen=True)
class Plan:
    """One launch of one kernel, all numbers known.

    Attributes:
        entry: name of the function.
        grid: number of blocks in x, y and z.
        block: threads of a block in x, y and z.
        shared: bytes of dynamic shared memory.
        extras: the int32 arguments between inputs and outputs.
        outputs: shape and dtype of each output.
    """

    entry: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    extras: tuple[int, ...]
    outputs: tuple[tuple[tuple[int, ...], str], ...]


@dataclass(frozen=True)
class KernelSpec:
    """A kernel: ``entry(inputs..., int32 extras..., outputs...)``.

    Attributes:
        name: the entries are called ``<name>_f32``, ``<name>_f16`` and ``<name>_bf16``.
        source: file in ``sources/``, without its ending.
        inputs: tensors that it reads.
        outputs: tensors that it writes; none may share memory with an input.
        extras: the int32 arguments, expressions of dimensions and parameters. A float parameter
            stands alone and is passed as the bits of its float32.
        grid: expressions for the number of blocks.
        block: expressions for the threads of a block.
        reference: the same in NumPy, float32: (inputs..., **parameters) to the first output.
        parameters: what is neither a tensor nor in a tensor's shape, with its type.
        shared: an expression, bytes of dynamic shared memory.
        whole: expressions of what the kernel computes with int32.
    """

    name: str
    source: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    extras: tuple[str, ...]
    grid: tuple[str, str, str]
    block: tuple[str, str, str]
    reference: Callable[..., NDArray[Any]]
    parameters: Mapping[str, type]
    shared: str = "0"
    whole: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {size for tensor in self.inputs for size in tensor.shape} | set(self.parameters)
        shapes = [size for tensor in (*self.inputs, *self.outputs) for size in tensor.shape]
        launch = (*self.extras, *self.grid, *self.block, self.shared, *self.whole)
        for text in (*shapes, *launch):
            if unknown := names_in(text) - known:
                raise ValueError(f"{self.name}: {text!r} has unknown names {sorted(unknown)}")
            floats = {name for name in names_in(text) if self.parameters.get(name) is float}
            if floats and text not in self.parameters:
                raise ValueError(f"{self.name}: {text!r} computes with a float")

    def entry(self, variant: str) -> str:
        """Name of the function for a number format of ``VARIANTS``."""
        if variant not in VARIANTS:
            raise KernelError(f"{self.name} has no entry for {variant}, only {', '.join(VARIANTS)}")
        return f"{self.name}_{VARIANTS[variant]}"

    def dtype(self, tensor: Tensor, variant: str) -> str:
        """The number format of a tensor in the entry of a variant."""
        return variant if tensor.dtype == "variant" else tensor.dtype

    def sizes(self, shapes: Sequence[Sequence[int]], **parameters: float) -> dict[str, int]:
        """The value of every name: dimensions of the inputs, and parameters as int32.

        Args:
            shapes: of the inputs, in order.
            **parameters: all of ``parameters``.

        Raises:
            KernelError: if shapes contradict each other or a parameter is missing or unknown.
        """
        if set(parameters) != set(self.parameters):
            found, needed = sorted(parameters), sorted(self.parameters)
            raise KernelError(f"{self.name} takes the parameters {needed}, not {found}.")
        values = {
            name: bits_of(value) if self.parameters[name] is float else int(value)
            for name, value in parameters.items()
        }
        if [len(shape) for shape in shapes] != [len(tensor.shape) for tensor in self.inputs]:
            raise self._mismatch(shapes)
        pairs = [
            (text, int(size))
            for tensor, shape in zip(self.inputs, shapes, strict=True)
            for text, size in zip(tensor.shape, shape, strict=True)
        ]
        for text, size in pairs:
            if text.isidentifier():
                values.setdefault(text, size)
        if any(size < 1 or evaluate(text, values) != size for text, size in pairs):
            raise self._mismatch(shapes)
        return values

    def plan(self, variant: str, shapes: Sequence[Sequence[int]], **parameters: float) -> Plan:
        """Everything that a launch needs but the addresses.

        Args:
            variant: one of ``VARIANTS``.
            shapes: of the inputs, in order.
            **parameters: all of ``parameters``.

        Raises:
            KernelError: if shapes or parameters do not fit, or are too large for a launch.
        """
        values = self.sizes(shapes, **parameters)

        def all_of(texts: Sequence[str]) -> tuple[int, ...]:
            return tuple(evaluate(text, values) for text in texts)

        grid, block, extras = all_of(self.grid), all_of(self.block), all_of(self.extras)
        outputs = tuple(
            (all_of(tensor.shape), self.dtype(tensor, variant)) for tensor in self.outputs
        )
        if any(not 1 <= number <= most for number, most in zip(grid, MAX_GRID, strict=True)):
            raise KernelError(
                f"{self.name} cannot be launched with {grid} blocks, at most {MAX_GRID}."
            )
        numbers = (*extras, *all_of(self.whole))
        if any(not -MAX_INT32 <= number <= MAX_INT32 for number in numbers):
            raise KernelError(f"{self.name}: {numbers} are not all int32.")
        return Plan(
            self.entry(variant),
            (grid[0], grid[1], grid[2]),
            (block[0], block[1], block[2]),
            evaluate(self.shared, values),
            extras,
            outputs,
        )

    def _mismatch(self, shapes: Sequence[Sequence[int]]) -> KernelError:
        found = ", ".join(str(tuple(shape)) for shape in shapes)
        needed = ", ".join(f"{tensor.name} ({', '.join(tensor.shape)})" for tensor in self.inputs)
        return KernelError(f"{self.name} needs {needed}, each 1 or more, and got {found}.")


def bits_of(value: float) -> int:
    """The bits of a float32 as int32, in which form a kernel gets a number with a fraction."""
    return int(np.float32(value).view(np.int32))
