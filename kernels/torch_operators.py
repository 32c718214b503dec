"""The kernels as operators of torch: ``torch.ops.arnet.masked_pool`` and so on, one for each spec.

    torch.ops.arnet.<kernel>(inputs..., parameters..., dtype) -> output

``dtype`` is there where no input tells the number format. On a GPU the kernel is launched by
cuda.core on torch's current stream, so that it may be captured in a graph; on a processor the
reference computes. Shapes follow from the spec also for torch.compile. There is no gradient.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arnet.kernels.catalogue import KERNELS
from arnet.kernels.errors import KernelError
from arnet.kernels.expressions import evaluate
from arnet.kernels.launch import CudaCoreLauncher, Prepared
from arnet.kernels.spec import VARIANTS, KernelSpec

NAMESPACE = "arnet"
_TYPES = {int: "int", float: "float"}


def needs_dtype(spec: KernelSpec) -> bool:
    """Whether no input of a kernel tells in which number format its result is."""
    return all(tensor.dtype != "variant" for tensor in spec.inputs)


def schema(spec: KernelSpec) -> str:
    """The signature of a kernel's operator, in torch's language."""
    arguments = [f"Tensor {tensor.name}" for tensor in spec.inputs]
    arguments += [f"{_TYPES[kind]} {name}" for name, kind in spec.parameters.items()]
    arguments += ["ScalarType dtype"] if needs_dtype(spec) else []
    return f"({', '.join(arguments)}) -> Tensor"


@dataclass(frozen=True)
class Call:
    """The arguments of one call, told apart.

    Attributes:
        spec: the kernel.
        tensors: its inputs, in order.
        parameters: by name.
        variant: the number format of the entry.
    """

    spec: KernelSpec
    tensors: tuple[Tensor, ...]
    parameters: dict[str, Any]
    variant: str

    @classmethod
    def of(cls, spec: KernelSpec, arguments: Sequence[Any]) -> Call:
        """Tell the arguments of an operator apart.

        Raises:
            KernelError: if the inputs are not of the number formats that the kernel takes.
        """
        count = len(spec.inputs)
        tensors, rest = tuple(arguments[:count]), list(arguments[count:])
        dtype = rest.pop() if needs_dtype(spec) else _variant_of(spec, tensors)
        variant = str(dtype).removeprefix("torch.")
        for tensor, found in zip(spec.inputs, tensors, strict=True):
            needed = spec.dtype(tensor, variant)
            if variant not in VARIANTS or str(found.dtype) != f"torch.{needed}":
                raise KernelError(
                    f"{spec.name} got {tensor.name} as {found.dtype} and needs {needed}; its "
                    f"number formats are {', '.join(VARIANTS)}."
                )
        return cls(spec, tensors, dict(zip(spec.parameters, rest, strict=True)), variant)

    @property
    def output_dtype(self) -> torch.dtype:
        """Number format of the result."""
        found: torch.dtype = getattr(torch, self.spec.dtype(self.spec.outputs[0], self.variant))
        return found


@dataclass
class Gpu:
    """One GPU, with the launches that were prepared for it.

    Attributes:
        launcher: of that GPU.
        most: launches that are kept; then those of the longest unused shapes go.
    """

    launcher: CudaCoreLauncher
    most: int = 512
    _prepared: OrderedDict[Any, Prepared] = field(default_factory=OrderedDict, repr=False)

    def __call__(self, call: Call, stream: Any) -> Tensor:
        """Launch a kernel.

        Args:
            call: its arguments, on this GPU.
            stream: of cuda.core.
        """
        tensors = [tensor.contiguous() for tensor in call.tensors]
        launch = self._launch(call, tuple(tuple(tensor.shape) for tensor in tensors))
        result = tensors[0].new_empty(launch.plan.outputs[0][0], dtype=call.output_dtype)
        launch(stream, [tensor.data_ptr() for tensor in tensors], [result.data_ptr()])
        return result

    def _launch(self, call: Call, shapes: tuple[tuple[int, ...], ...]) -> Prepared:
        key = (call.spec.name, call.variant, shapes, tuple(call.parameters.values()))
        found = self._prepared.get(key)
        if found is None:
            found = self.launcher.prepare(call.spec, call.variant, shapes, **call.parameters)
            self._prepared[key] = found
        self._prepared.move_to_end(key)
        while len(self._prepared) > self.most:
            self._prepared.popitem(last=False)
        return found


def forget_enhance_stack(
    vectors: Tensor, weights: Tensor, biases: Tensor, dilations: Sequence[int]
) -> Tensor:
    """The whole stack of eq. 8, a launch for each block: (k, C) to (k, C)."""
    for block, dilation in enumerate(dilations):
        vectors = torch.ops.arnet.forget_enhance(vectors, weights, biases, block, dilation)
    return vectors


def _variant_of(spec: KernelSpec, tensors: Sequence[Tensor]) -> torch.dtype:
    pairs = zip(spec.inputs, tensors, strict=True)
    return next(found.dtype for tensor, found in pairs if tensor.dtype == "variant")


def _on_gpu(spec: KernelSpec, *arguments: Any) -> Tensor:
    call = Call.of(spec, arguments)
    device = call.tensors[0].device
    if any(tensor.device != device for tensor in call.tensors):
        found = ", ".join(str(tensor.device) for tensor in call.tensors)
        raise KernelError(f"the inputs of {spec.name} are on {found}; one device is needed.")
    with torch.cuda.device(device):
        stream = _stream(torch.cuda.current_stream(device).cuda_stream)
        return _gpu(device.index)(call, stream)


def _on_cpu(spec: KernelSpec, *arguments: Any) -> Tensor:
    call = Call.of(spec, arguments)
    # Raises where shapes or parameters do not fit, as a launch would.
    plan = spec.plan(call.variant, [tensor.shape for tensor in call.tensors], **call.parameters)
    arrays = [
        (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        for tensor in call.tensors
    ]
    result = np.ascontiguousarray(spec.reference(*arrays, **call.parameters))
    assert result.shape == plan.outputs[0][0]
    return torch.from_numpy(result).to(call.output_dtype)


def _fake(spec: KernelSpec, *arguments: Any) -> Tensor:
    """The shape alone; dimensions may be symbols."""
    call = Call.of(spec, arguments)
    names: dict[str, Any] = dict(call.parameters)
    pairs: list[tuple[str, Any]] = []
    for tensor, found in zip(spec.inputs, call.tensors, strict=True):
        torch._check(found.dim() == len(tensor.shape), lambda: f"{spec.name}: wrong dimensions")
        pairs += zip(tensor.shape, found.shape, strict=True)
    for text, size in pairs:
        if text.isidentifier():
            names.setdefault(text, size)
    for text, size in pairs:
        torch._check(evaluate(text, names) == size, lambda: f"{spec.name}: shapes do not fit")
    shape = [evaluate(text, names) for text in spec.outputs[0].shape]
    return call.tensors[0].new_empty(shape, dtype=call.output_dtype)


@cache
def _gpu(device: int) -> Gpu:
    return Gpu(CudaCoreLauncher(device))


@cache
def _stream(handle: int) -> Any:
    return import_module("cuda.core").Stream.from_handle(handle)


def _defined(spec: KernelSpec) -> Any:
    operator = torch.library.custom_op(
        f"{NAMESPACE}::{spec.name}",
        partial(_on_cpu, spec),
        mutates_args=(),
        device_types="cpu",
        schema=schema(spec),
    )
    operator.register_kernel("cuda")(partial(_on_gpu, spec))
    operator.register_fake(partial(_fake, spec))
    return operator


OPERATORS: dict[str, Callable[..., Tensor]] = {
    name: _defined(spec) for name, spec in KERNELS.items()
}
"""Every kernel's operator, by name; ``torch.ops.arnet`` has the same."""
