"""Loads a plan and runs it over stand-ins for TensorRT's objects; a job as JSON in, calls out."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import real_tensorrt
from stand_ins import CALLS, LOGGERS, complain, stand_in

trt = real_tensorrt.load()

from arnet.runtime.bundle import Stage, TensorInfo  # noqa: E402
from arnet.runtime.engines import complaints  # noqa: E402
from arnet.runtime.engines.plans import TensorRt  # noqa: E402
from arnet.runtime.errors import ArnetError  # noqa: E402

JOB = json.load(sys.stdin)
REFUSED: dict[str, Any] = JOB.get("refuse", {})
NAMES = ["pixels", "features"]
STAGE = Stage(
    "encode_image.onnx",
    (TensorInfo("pixels", "float32", ("n", 3, 33, 33)),),
    (TensorInfo("features", "float16", ("n", 4, 5, 5)),),
)


def deserialize(plan: bytes) -> Any:
    LOGGERS[-1].log(trt.ILogger.Severity.WARNING, "slow")
    complain("something else")  # and yet it goes on
    return engine


context = stand_in(
    trt.IExecutionContext,
    REFUSED,
    set_input_shape=True,
    infer_shapes=[],
    get_tensor_shape=trt.Dims([2, 4, 5, 5]),
    set_tensor_address=True,
    set_device_memory=None,
    execute_async_v3=True,
)
engine = stand_in(
    trt.ICudaEngine,
    REFUSED,
    create_execution_context=context,
    get_tensor_name=lambda index: NAMES[index],
    get_tensor_mode=lambda name: getattr(
        trt.TensorIOMode, "INPUT" if name == "pixels" else "OUTPUT"
    ),
    get_tensor_dtype=lambda name: trt.DataType.FLOAT if name == "pixels" else trt.DataType.HALF,
    get_tensor_profile_shape=[trt.Dims([1, 3, 33, 33])] * 2 + [trt.Dims([2, 3, 33, 33])],
)
engine.num_io_tensors = len(NAMES)
engine.device_memory_size_v2 = 4096
runtime = stand_in(trt.Runtime, REFUSED, deserialize_cuda_engine=deserialize)
runtime.engine_host_code_allowed = False
LOGGERS.append(complaints.logger_of(trt))
complain("an older error")
if "Runtime" not in REFUSED:  # by the real one, for which the stub library has a null pointer
    trt.Runtime = lambda logger: LOGGERS.append(logger) or runtime

answer: dict[str, Any] = {}
try:
    library = TensorRt()
    plan = library.open("encode_image", STAGE, b"plan", JOB.get("version_compatible", False))
    fixed = plan.context({"pixels": tuple(JOB.get("shape", (2, 3, 33, 33)))})
    fixed.bind({"pixels": 256, "features": 512}, SimpleNamespace(address=1024, bytes=plan.scratch))
    fixed.freeze()
    fixed.enqueue(4096)
    calls = [[place, *arguments] for place, arguments in CALLS if "get_" not in place]
    fixed.release()
    again = plan.context({"pixels": (2, 3, 33, 33)})
    other = plan.context({"pixels": (2, 3, 33, 33)})
    try:
        again.enqueue(4096)
    except ArnetError as error:
        unbound = error.message
    answer = {
        "outputs": {name: list(shape) for name, shape in fixed.outputs.items()},
        "host_code": runtime.engine_host_code_allowed,
        "calls": calls,
        "again": [again is fixed, other is fixed],
        "unbound": unbound,
    }
except ArnetError as error:
    answer = {"error": type(error).__name__, "message": error.message}
sys.stdout.write("\n" + json.dumps(answer) + "\n")
