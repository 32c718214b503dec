"""Builds, inspects and loads a plan over stand-ins for TensorRT's objects.

A job as JSON in, what was asked of the objects out.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest import mock

import real_tensorrt
from stand_ins import CALLS, LOGGERS, complain, stand_in

trt = real_tensorrt.load()

from arnet.export.tensorrt import builder, inspection  # noqa: E402
from arnet.export.tensorrt.library import Gpu, Toolchain, bit  # noqa: E402
from arnet.runtime.bundle import Stage  # noqa: E402
from arnet.runtime.engines import complaints  # noqa: E402
from arnet.runtime.engines.plans import TensorRt  # noqa: E402
from arnet.runtime.errors import ArnetError  # noqa: E402

JOB = json.load(sys.stdin)
REFUSED: dict[str, Any] = JOB.get("refuse", {})


def build_serialized(network: Any, config: Any) -> Any:
    """As the library would: phases inside each other, and the end when the monitor says so."""
    monitor = config.progress_monitor
    monitor.phase_start("Building", None, 2)
    monitor.phase_start("Tactics", "Building", 3)
    for step in range(3):
        if not monitor.step_complete("Tactics", step):
            return None
    monitor.phase_finish("Tactics")
    monitor.phase_finish("Building")
    complain("a tactic was left out")  # and yet it goes on
    config_seen.update({key: str(getattr(config, key)) for key in SEEN})
    return b"plan"


SEEN = ("builder_optimization_level", "profiling_verbosity", "hardware_compatibility_level")
config_seen: dict[str, str] = {}
layers = [mock.MagicMock(spec_set=trt.ILayer) for _ in range(4)]
for number, layer in enumerate(layers):
    plugin = number < JOB.get("plugins_found", 2)
    layer.type = trt.LayerType.PLUGIN_V3 if plugin else trt.LayerType.CONVOLUTION
network = stand_in(trt.INetworkDefinition, REFUSED, get_layer=lambda index: layers[index])
network.num_layers = len(layers)
cache = stand_in(trt.ITimingCache, REFUSED, serialize=b"timings")
config = stand_in(
    trt.IBuilderConfig,
    REFUSED,
    set_memory_pool_limit=None,
    set_flag=None,
    clear_flag=None,
    create_timing_cache=lambda content: None if content == b"damaged" else cache,
    set_timing_cache=True,
    add_optimization_profile=0,
)
profile = stand_in(trt.IOptimizationProfile, REFUSED, set_shape=None)
maker = stand_in(
    trt.Builder,
    REFUSED,
    create_network=network,
    create_builder_config=config,
    create_optimization_profile=profile,
    build_serialized_network=build_serialized,
)
wrong = stand_in(
    trt.ParserError, REFUSED, desc="no importer", node_name="node_7", node_operator="MaskedPool"
)
parser = stand_in(trt.OnnxParser, REFUSED, parse=True, get_error=wrong)
parser.num_errors = 1
context = stand_in(trt.IExecutionContext, REFUSED, set_input_shape=True)
reader = stand_in(
    trt.EngineInspector, REFUSED, get_engine_information=json.dumps(JOB.get("layers", {}))
)
if "EngineInspector.execution_context" in REFUSED:
    type(reader).execution_context = mock.PropertyMock(return_value=None)
engine = stand_in(
    trt.ICudaEngine, REFUSED, create_execution_context=context, create_engine_inspector=reader
)
runtime = stand_in(trt.Runtime, REFUSED, deserialize_cuda_engine=engine)
engine.num_io_tensors = engine.device_memory_size_v2 = 0
NULL = "pybind11::init(): factory function returned nullptr"
for name, made in (("Builder", maker), ("OnnxParser", parser), ("Runtime", runtime)):

    def make(*given: Any, name: str = name, made: Any = made) -> Any:
        LOGGERS.append(given[-1])
        if name in REFUSED:
            raise TypeError(NULL)
        return made

    # Refused by the real one, for which the stub library has a null pointer; a parser wants more.
    if name not in REFUSED or name == "OnnxParser":
        setattr(trt, name, make)

LOGGERS.append(complaints.logger_of(trt))
complain("an older error")
tools = Toolchain(trt, Gpu("NVIDIA H200", (9, 0), "580", "13.0"))
steps: list[tuple[str, int, int]] = []
progress = builder.Progress(lambda *step: steps.append(step))
if JOB.get("cancel"):
    progress.told = lambda *step: (steps.append(step), setattr(progress, "cancelled", step[1] == 2))
if JOB.get("fail"):
    progress.told = lambda *step: 1 / 0
settings = builder.Settings(**{
    "tf32": False, "hardware": "none", "version_compatible": False, "plugins": 2,
    **JOB.get("settings", {}),
})  # fmt: skip
shapes = {"shares": ((1, 1), (1, 5), (8, 80))}
answer: dict[str, Any] = {}
try:
    plan, kept = builder.build_plan(
        tools, b"onnx", shapes, settings, JOB.get("cache", "").encode(), progress
    )
    built = inspection.inspect(tools, plan, shapes, settings.version_compatible)
    TensorRt().open("decode", Stage("decode.onnx", (), ()), plan, False)
    answer = {
        "plan": plan.decode(),
        "cache": kept.decode(),
        "layers": [[layer.kind, layer.inputs, layer.outputs] for layer in built],
        "inspected": reader.execution_context is context,
        "logged": [len(LOGGERS), len(set(map(id, LOGGERS)))],
        "host_code": runtime.engine_host_code_allowed is True,
    }
except (ArnetError, KeyboardInterrupt, ZeroDivisionError) as error:
    answer = {"error": type(error).__name__, "message": str(error)}
flags = trt.NetworkDefinitionCreationFlag
made_with = next((int(a[0]) for place, a in CALLS if place == "Builder.create_network"), 0)
answer |= {
    "version": trt.__version__,
    "calls": CALLS,
    "config": config_seen,
    "steps": steps,
    "network": [name for name, flag in flags.__members__.items() if made_with & bit(flag)],
}
sys.stdout.write("\n" + json.dumps(answer) + "\n")
