"""Stands for ``tensorrt`` on the emulated GPU: a plan is an ONNX graph that ONNX Runtime computes.

Like TensorRT it refuses by answering False or None, waits in the first run after a shape was set,
which a capture forbids, and computes when the stream gets there, in the memory it was given for it.
"""

from __future__ import annotations

import ctypes
import enum
import math
import sys
import types
import weakref
from typing import Any

import numpy as np

VERSION = "11.4.0.106"
MOST = 16
"""Of every dynamic dimension."""

REFUSED: set[str] = set()
"""Methods that answer None or False, for tests of the errors."""

CALLS: list[str] = []
"""Contexts that were made and shapes that were set."""

CALLBACKS: list[Any] = []
"""What the driver may still call; never given back, and none of them keeps its context alive."""


class DataType(enum.Enum):
    FLOAT, HALF, INT64, INT32, UINT8 = range(5)


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


TYPES = {
    "tensor(float)": (DataType.FLOAT, "float32"),
    "tensor(float16)": (DataType.HALF, "float16"),
}


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if "deserialize_cuda_engine" in REFUSED or not plan:
            self.logger.log(ILogger.Severity.ERROR, "the plan is of another version")
            return None
        return Engine(plan)


class Engine:
    def __init__(self, plan: bytes) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.tensors = self.inputs | {node.name: node for node in self.session.get_outputs()}
        self.num_io_tensors = len(self.tensors)
        self.device_memory_size_v2 = 1000 + 100 * self.num_io_tensors

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return TYPES[self.tensors[name].type][0]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        shape = self.inputs[name].shape
        least, most = (
            tuple(size if isinstance(size, int) else free for size in shape) for free in (1, MOST)
        )
        return [least, least, most]

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy
    ) -> Context | None:
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        CALLS.append("context")
        return None if "create_execution_context" in REFUSED else Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.scratch = 0
        self.warm = False
        self.driver = ctypes.CDLL("libcuda.so.1")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        CALLS.append(f"shape {name}")
        assert name not in self.shapes, "a context was given another shape"
        self.shapes[name] = shape
        return "set_input_shape" not in REFUSED

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.inputs if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sizes = {
            text: size
            for key, shape in self.shapes.items()
            for text, size in zip(self.engine.inputs[key].shape, shape, strict=True)
        }
        return tuple(
            size if isinstance(size, int) else sizes[size]
            for size in self.engine.tensors[name].shape
        )

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % 256 == 0, f"{name} is at {address}"
        self.addresses[name] = address
        return "set_tensor_address" not in REFUSED

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory % 256 == 0 and size >= self.engine.device_memory_size_v2
        self.scratch = memory

    def execute_async_v3(self, stream: int) -> bool:
        if "execute_async_v3" in REFUSED:
            return False
        assert stream > 15, "the default stream"
        assert self.scratch, "it was given no memory to compute in"
        if not self.warm and self.driver.cuCtxSynchronize():
            return False
        self.warm = True
        addresses, scratch = dict(self.addresses), self.scratch
        reference = weakref.ref(self)

        def compute(_: Any) -> None:
            context = reference()
            assert context is not None, "a context was given back before its work was done"
            engine, array = context.engine, context._array
            ctypes.memset(scratch, 0, engine.device_memory_size_v2)
            feeds = {name: array(name, addresses[name]) for name in engine.inputs}
            names = [name for name in engine.tensors if name not in feeds]
            for name, result in zip(names, engine.session.run(names, feeds), strict=True):
                array(name, addresses[name])[...] = result

        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compute)
        CALLBACKS.append(function)
        return self.driver.cuLaunchHostFunc(ctypes.c_void_p(stream), function, None) == 0

    def _array(self, name: str, address: int) -> np.ndarray[Any, Any]:
        dtype = np.dtype(TYPES[self.engine.tensors[name].type][1])
        shape = self.get_tensor_shape(name)
        buffer = (ctypes.c_uint8 * (math.prod(shape) * dtype.itemsize)).from_address(address)
        return np.frombuffer(buffer, dtype).reshape(shape)


def install() -> None:
    """Let ``import tensorrt`` find this."""
    package = types.ModuleType("tensorrt")
    package.__dict__.update({n: v for n, v in globals().items() if not n.startswith("_")})
    package.__dict__["__version__"] = VERSION
    sys.modules["tensorrt"] = package
