"""TensorRT at run time: every call of its API that the runtime makes stands in this file.

Written after NVIDIA's documentation of 10.13 to 11.4 and held against the real bindings of these
versions; it has not met a real TensorRT yet. TensorRT refuses by answering False or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

from arnet.runtime.bundle import Stage
from arnet.runtime.device import Memory
from arnet.runtime.engines.complaints import forget, logger_of, made, reason
from arnet.runtime.engines.plan_choice import numbers
from arnet.runtime.errors import AbsentEngineError, EngineError

REQUIREMENT = "tensorrt>=10.13,!=10.14.*,<12"

_OLDEST, _TOO_NEW = (10, 13), (12,)
_DTYPES = {  # by the names of trt.DataType
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "UINT8": "uint8",
    "INT8": "int8",
    "BOOL": "bool",
}
Answer = TypeVar("Answer")
Shapes = Mapping[str, tuple[int, ...]]


class TensorRt:
    """The library, with what it last complained of.

    Attributes:
        version: such as "11.4.0.106".
    """

    def __init__(self) -> None:
        """Import it.

        Raises:
            EngineError: if it is not installed or of another version than is supported.
        """
        install = f"pip install '{REQUIREMENT}'"
        try:
            self._trt = import_module("tensorrt")
        except Exception as error:  # ImportError, or one of the loader's
            absent = isinstance(error, ModuleNotFoundError) and error.name == "tensorrt"
            kind = AbsentEngineError if absent else EngineError
            raise kind(f"the engine 'tensorrt' needs TensorRT ({error})", install) from error
        self.version = str(self._trt.__version__)
        if not _OLDEST <= numbers(self.version) < _TOO_NEW:
            raise EngineError(
                f"TensorRT {self.version} is installed; needed is {REQUIREMENT}", install
            )
        self._logger = logger_of(self._trt)

    def need(self, answer: Answer | None, what: str, hint: str = "") -> Answer:
        """What TensorRT answered, unless that is a refusal; why is told if it logged that.

        Raises:
            EngineError: the answer is None or False.
        """
        if answer is None or answer is False:
            raise EngineError(f"TensorRT {self.version} refused {what}{reason()}", hint)
        return answer

    def open(self, name: str, stage: Stage, plan: bytes, version_compatible: bool) -> Plan:
        """Read a plan.

        Args:
            name: of the stage.
            stage: its interface, as the manifest says.
            plan: its content, verified.
            version_compatible: whether it holds a runtime of its own, which has to be allowed to
                run on the processor.

        Raises:
            EngineError: if TensorRT refuses it, or it has other tensors than the manifest says.
        """
        forget()
        runtime = self.need(made(self._trt.Runtime, self._logger), "to start")
        if version_compatible:
            runtime.engine_host_code_allowed = True
        engine = self.need(
            runtime.deserialize_cuda_engine(plan),
            f"the plan of the stage '{name}'",
            "Export the bundle again on this machine, with its TensorRT.",
        )
        return Plan(self, name, stage, runtime, engine)

    @property
    def strategy(self) -> Any:
        """Where contexts have the memory that they compute in from: from whoever binds them."""
        return self._trt.ExecutionContextAllocationStrategy.USER_MANAGED

    def is_input(self, engine: Any, name: str) -> bool:
        """Whether a tensor of an engine is an input."""
        return bool(engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)


class Plan:
    """One stage, ready for execution contexts.

    Attributes:
        scratch: bytes that a context computes in, enough for all shapes.
    """

    def __init__(
        self, library: TensorRt, name: str, stage: Stage, runtime: Any, engine: Any
    ) -> None:
        """See ``TensorRt.open``."""
        self.library = library
        self.name = name
        self.stage = stage
        self.engine = engine
        self.scratch = int(engine.device_memory_size_v2)
        self._runtime = runtime  # has to outlive the engine
        self._free: dict[frozenset[Any], list[FixedContext]] = {}
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        found = {
            key: (library.is_input(engine, key), _dtype(engine.get_tensor_dtype(key)))
            for key in names
        }
        needed = {tensor.name: (True, tensor.dtype) for tensor in stage.inputs}
        needed |= {tensor.name: (False, tensor.dtype) for tensor in stage.outputs}
        if found != needed:
            raise EngineError(
                f"the plan of the stage '{name}' has the tensors {_listed(found)}; the manifest"
                f" says {_listed(needed)}",
                "Export the bundle again.",
            )

    def context(self, shapes: Shapes) -> FixedContext:
        """An execution context for shapes of all inputs; they cannot be changed.

        One that was released is taken again, and none is destroyed before ``close``: in TensorRT
        11.1 and 11.2 ahead-of-time plugins leak their code when shapes are set anew
        (NVIDIA/TensorRT issue 4849). They hold no memory to compute in; what else they hold was not
        measured yet.

        Raises:
            EngineError: if the plan does not take such shapes, or there is not enough memory.
        """
        if free := self._free.get(frozenset(shapes.items())):
            return free.pop()
        for key, shape in shapes.items():
            least, _, most = (tuple(s) for s in self.engine.get_tensor_profile_shape(key, 0))
            fits = len(shape) == len(least)
            if not fits or any(not a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
                raise EngineError(
                    f"the plan of the stage '{self.name}' takes {key} from {least} to {most}; it"
                    f" was given {shape}",
                    "Give no more shots and classes than that, or export the bundle again with"
                    " larger --max-shots and --max-classes.",
                )
        return FixedContext(self, shapes)

    def take_back(self, context: FixedContext) -> None:
        """See ``FixedContext.release``."""
        self._free.setdefault(frozenset(context.shapes.items()), []).append(context)

    def close(self) -> None:
        """Destroy the contexts that are not in use."""
        self._free.clear()


class FixedContext:
    """An execution context whose shapes never change, and once it is frozen nor do its addresses.

    So a captured graph stays valid, and plugins are not loaded again for every new shape.

    Attributes:
        shapes: of the inputs, by name.
        outputs: shapes by name.
    """

    def __init__(self, plan: Plan, shapes: Shapes) -> None:
        """See ``Plan.context``."""
        forget()
        self._plan = plan
        self.shapes = dict(shapes)
        self._stage = f"the stage '{plan.name}'"
        self._bound = self._frozen = False
        need = plan.library.need
        self._context = need(
            plan.engine.create_execution_context(plan.library.strategy),
            f"a context of {self._stage}",
            "Close what else uses the GPU's memory; nvidia-smi shows it.",
        )
        for key, shape in shapes.items():
            need(self._context.set_input_shape(key, shape), f"{key} {shape} of {self._stage}")
        if missing := self._context.infer_shapes():
            raise EngineError(f"{self._stage} was not given the shapes of {', '.join(missing)}")
        self.outputs = {
            tensor.name: tuple(self._context.get_tensor_shape(tensor.name))
            for tensor in plan.stage.outputs
        }

    def bind(self, addresses: Mapping[str, int], scratch: Memory) -> None:
        """Say where everything is.

        Args:
            addresses: of every input and output, multiples of 256.
            scratch: what it computes in, as large as the plan says. Others may use it before and
                after, and the stream keeps them apart.

        Raises:
            EngineError: if it is frozen, or TensorRT refuses.
        """
        if self._frozen:
            raise EngineError(f"the addresses of {self._stage} cannot be changed any more")
        forget()
        for tensor in (*self._plan.stage.inputs, *self._plan.stage.outputs):
            answer = self._context.set_tensor_address(tensor.name, addresses[tensor.name])
            self._plan.library.need(answer, f"the address of {tensor.name} of {self._stage}")
        self._context.set_device_memory(scratch.address, scratch.bytes)
        self._bound = True

    def freeze(self) -> None:
        """Refuse other addresses from now on, because a graph is going to hold these."""
        self._frozen = True

    def release(self) -> None:
        """Give it back to the plan, for whoever asks for such shapes next; it is not running."""
        self._bound = self._frozen = False
        self._plan.take_back(self)

    def enqueue(self, stream: int) -> None:
        """Put the computation into a stream, a ``cudaStream_t``; the host does not wait.

        Raises:
            EngineError: if the addresses are not set, or TensorRT refuses.
        """
        if not self._bound:
            raise EngineError(f"{self._stage} has no addresses yet")
        forget()
        self._plan.library.need(self._context.execute_async_v3(stream), f"to run {self._stage}")


def _dtype(kind: Any) -> str:
    return _DTYPES.get(str(kind.name), str(kind.name))


def _listed(tensors: Mapping[str, tuple[bool, str]]) -> str:
    return ", ".join(
        f"{name} ({'in' if given else 'out'}, {dtype})"
        for name, (given, dtype) in sorted(tensors.items())
    )
