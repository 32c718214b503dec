"""Kernels on a GPU, driven by cuda.core or by pycuda; both are imported when they are used.

A launch is prepared once for its shapes - the code is found, the numbers are worked out - and then
called with a stream and addresses, as often as wanted or once inside a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from arnet.kernels.binaries import binary
from arnet.kernels.errors import KernelError
from arnet.kernels.spec import KernelSpec, Plan


@dataclass(frozen=True)
class Prepared:
    """One launch, ready but for the stream and the addresses.

    Attributes:
        spec: the kernel.
        plan: the launch's numbers, among them the shapes of the outputs.
        run: launches with a stream, the addresses of the inputs and those of the outputs.
    """

    spec: KernelSpec
    plan: Plan
    run: Callable[[Any, Sequence[int], Sequence[int]], None]

    def __call__(self, stream: Any, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Launch on a stream.

        Args:
            stream: of the launcher's library.
            inputs: addresses on the GPU, in the order of the spec; contiguous.
            outputs: likewise; none may overlap an input.

        Raises:
            KernelError: if there are more or fewer addresses than the spec has tensors.
        """
        if len(inputs) != len(self.spec.inputs) or len(outputs) != len(self.spec.outputs):
            raise KernelError(
                f"{self.spec.name} takes {len(self.spec.inputs)} inputs and "
                f"{len(self.spec.outputs)} outputs, not {len(inputs)} and {len(outputs)}."
            )
        self.run(stream, inputs, outputs)


@dataclass
class CudaCoreLauncher:
    """Launches through cuda.core, in the primary context of a GPU.

    Attributes:
        device: number of the GPU, whose context becomes the current one of this thread.

    Raises:
        KernelError: if cuda.core or the GPU is not there.
    """

    device: int = 0
    capability: tuple[int, int] = field(init=False)
    _core: Any = field(init=False, repr=False)
    _loaded: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._core = _library("cuda.core", "cuda-bindings cuda-core")
        device = _started(self._core.Device, self.device)
        _started(device.set_current)
        self.capability = tuple(device.compute_capability)

    def prepare(
        self, spec: KernelSpec, variant: str, shapes: Sequence[Sequence[int]], **parameters: float
    ) -> Prepared:
        """A launch for shapes and parameters; see ``KernelSpec.plan``.

        Raises:
            KernelError: if they do not fit, or there is no code for this GPU.
        """
        plan = spec.plan(variant, shapes, **parameters)
        if spec.source not in self._loaded:
            code = binary(spec.source, self.capability)
            kinds = self._core.ObjectCode
            load = kinds.from_ptx if code.is_ptx else kinds.from_cubin
            self._loaded[spec.source] = load(code.code)
        kernel = _loading(self._loaded[spec.source].get_kernel, plan, self.capability)
        config = self._core.LaunchConfig(grid=plan.grid, block=plan.block, shmem_size=plan.shared)
        extras = [np.int32(number) for number in plan.extras]

        def call(stream: Any, inputs: Sequence[int], outputs: Sequence[int]) -> None:
            self._core.launch(stream, config, kernel, *inputs, *extras, *outputs)

        return Prepared(spec, plan, call)


@dataclass
class PycudaLauncher:
    """Launches through pycuda, in the context that is current, best the primary one.

    ``import pycuda.autoprimaryctx`` makes it so; torch and ONNX Runtime share it.

    Raises:
        KernelError: if pycuda is not installed or no context is current.
    """

    capability: tuple[int, int] = field(init=False)
    _driver: Any = field(init=False, repr=False)
    _loaded: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._driver = _library("pycuda.driver", "pycuda")
        device = _started(self._driver.Context.get_device)
        self.capability = tuple(device.compute_capability())

    def prepare(
        self, spec: KernelSpec, variant: str, shapes: Sequence[Sequence[int]], **parameters: float
    ) -> Prepared:
        """A launch for shapes and parameters; see ``KernelSpec.plan``.

        Raises:
            KernelError: if they do not fit, or there is no code for this GPU.
        """
        plan = spec.plan(variant, shapes, **parameters)
        if spec.source not in self._loaded:
            code = binary(spec.source, self.capability)
            self._loaded[spec.source] = _loading(
                lambda _: self._driver.module_from_buffer(code.code), plan, self.capability
            )
        function = self._loaded[spec.source].get_function(plan.entry)
        # Prepared, so that the widths of the arguments are those of the spec whatever is passed.
        function.prepare("P" * len(spec.inputs) + "i" * len(plan.extras) + "P" * len(spec.outputs))

        def call(stream: Any, inputs: Sequence[int], outputs: Sequence[int]) -> None:
            function.prepared_async_call(
                plan.grid, plan.block, stream, *inputs, *plan.extras, *outputs,
                shared_size=plan.shared,
            )  # fmt: skip

        return Prepared(spec, plan, call)


def _library(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except Exception as error:  # ImportError, or one of the driver's loader
        raise KernelError(
            f"{module} cannot be used ({error}).",
            f"pip install {package}, and check with nvidia-smi that there is a driver.",
        ) from error


def _started(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # each library has errors of its own
        raise KernelError(
            f"the GPU cannot be used ({error}).", "Check with nvidia-smi that there is one."
        ) from error


def _loading(load: Any, plan: Plan, capability: tuple[int, int]) -> Any:
    try:
        return load(plan.entry)
    except Exception as error:
        major, minor = capability
        raise KernelError(
            f"the driver does not load {plan.entry} for sm_{major}{minor} ({error}).",
            "Install a driver of CUDA 13.0 or newer.",
        ) from error
