"""Builds and inspects a plan over stand-ins for TensorRT's objects.

Reads a job as JSON and prints what was asked of the objects.

Each stands for one real class of this version and has what that class has, no more. A call with
other arguments than its documentation names is an error. The real library is not there.
"""

from __future__ import annotations

import inspect as python_inspect
import json
import re
import sys
from typing import Any
from unittest import mock

import real_tensorrt

trt = real_tensorrt.load()

from arnet.export.tensorrt import builder, inspection  # noqa: E402
from arnet.export.tensorrt.library import Gpu, Toolchain, bit  # noqa: E402
from arnet.runtime.errors import ArnetError  # noqa: E402

JOB = json.load(sys.stdin)
CALLS: list[tuple[str, list[Any]]] = []
REFUSED: dict[str, Any] = JOB.get("refuse", {})


def signatures(text: str) -> list[list[str]]:
    """The arguments of each overload, by what the bindings say of a method."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*(?:\d+\. )?\w+\(self: [\w.]+(?:, (.*))?\) -> ", line)
        if match:
            found.append(re.findall(r"(\w+): ", match[1] or ""))
    return found


def stand_in(kind: type, **answers: Any) -> Any:
    """An object with the names of a real class that gives these answers, or refuses."""
    made = mock.MagicMock(spec_set=kind)
    for name, answer in answers.items():

        def call(*arguments: Any, name: str = name, answer: Any = answer, **named: Any) -> Any:
            known = signatures(getattr(kind, name).__doc__)
            fits = any(
                len(arguments) + len(named) <= len(each) and set(named) <= set(each)
                for each in known
            )
            assert fits, f"{kind.__name__}.{name}{arguments}{named} is none of {known}"
            place = f"{kind.__name__}.{name}"
            CALLS.append((place, [*map(str, arguments), *map(str, named.values())]))
            if place in REFUSED:
                return REFUSED[place]
            return answer(*arguments) if python_inspect.isfunction(answer) else answer

        getattr(made, name).side_effect = call
    return made


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
    config_seen.update({key: str(getattr(config, key)) for key in SEEN})
    return b"plan"


SEEN = ("builder_optimization_level", "profiling_verbosity", "hardware_compatibility_level")
config_seen: dict[str, str] = {}
layers = [mock.MagicMock(spec_set=trt.ILayer) for _ in range(4)]
for number, layer in enumerate(layers):
    plugin = number < JOB.get("plugins_found", 2)
    layer.type = trt.LayerType.PLUGIN_V3 if plugin else trt.LayerType.CONVOLUTION
network = stand_in(trt.INetworkDefinition, get_layer=lambda index: layers[index])
network.num_layers = len(layers)
cache = stand_in(trt.ITimingCache, serialize=b"timings")
config = stand_in(
    trt.IBuilderConfig,
    set_memory_pool_limit=None,
    set_flag=None,
    clear_flag=None,
    create_timing_cache=lambda content: None if content == b"damaged" else cache,
    set_timing_cache=True,
    add_optimization_profile=0,
)
profile = stand_in(trt.IOptimizationProfile, set_shape=None)
maker = stand_in(
    trt.Builder,
    create_network=network,
    create_builder_config=config,
    create_optimization_profile=profile,
    build_serialized_network=build_serialized,
)
wrong = stand_in(
    trt.ParserError, desc="no importer", node_name="node_7", node_operator="MaskedPool"
)
parser = stand_in(trt.OnnxParser, parse=True, get_error=wrong)
parser.num_errors = 1
context = stand_in(trt.IExecutionContext, set_input_shape=True)
reader = stand_in(trt.EngineInspector, get_engine_information=json.dumps(JOB.get("layers", {})))
engine = stand_in(trt.ICudaEngine, create_execution_context=context, create_engine_inspector=reader)
runtime = stand_in(trt.Runtime, deserialize_cuda_engine=engine)
for name, made in (("Builder", maker), ("OnnxParser", parser), ("Runtime", runtime)):
    setattr(trt, name, lambda *_, name=name, made=made: REFUSED.get(name, made))

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
    answer = {
        "plan": plan.decode(),
        "cache": kept.decode(),
        "layers": [[layer.kind, layer.inputs, layer.outputs] for layer in built],
        "inspected": reader.execution_context is context,
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
