"""All that talks to TensorRT while a plan is built, straight after NVIDIA's Python API.

It has never met the library itself: it is tested against the real bindings of several versions over
stub libraries, with objects that answer as the library may, refusals among them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from arnet.export.tensorrt.library import Toolchain, bit, need
from arnet.export.tensorrt.profiles import Profile
from arnet.runtime.engines.complaints import forget, logger_of, made
from arnet.runtime.errors import BuildError

Told = Callable[[str, int, int], None]
"""Told of a step by name, of how much of it is done and of its total."""

_WORKSPACE = 4 << 30
_LEVEL = 3  # TensorRT's own default; level 0 would not use the timing cache


@dataclass(frozen=True)
class Settings:
    """How plans are built.

    Attributes:
        tf32: whether products of float32 may be rounded to TF32.
        hardware: one of ``arnet.runtime.bundle.plans.HARDWARE``.
        version_compatible: whether newer versions of TensorRT of the same major may run it.
        plugins: how many nodes of the graph are to become plugins.
    """

    tf32: bool
    hardware: str
    version_compatible: bool
    plugins: int


@dataclass
class Progress:
    """What the build tells, and whether it shall stop; used from several threads.

    Attributes:
        told: is called on a thread of TensorRT.
        cancelled: once true, TensorRT stops at its next step.
        failure: why it was cancelled, unless the user did.
    """

    told: Told
    cancelled: bool = False
    failure: Exception | None = None


def build_plan(
    tools: Toolchain,
    model: bytes,
    profile: Profile,
    settings: Settings,
    cache: bytes,
    progress: Progress,
) -> tuple[bytes, bytes]:
    """Build one plan; the network is always strongly typed: types are those of the graph.

    Args:
        tools: TensorRT and the GPU.
        model: ONNX, all weights inside.
        profile: shapes of the dynamic inputs.
        settings: how.
        cache: of timings, as an earlier build gave it; b"" for none.
        progress: told of the steps.

    Returns:
        The plan and the timing cache as it is now.

    Raises:
        BuildError: TensorRT refused, or built fewer plugins than there are.
        KeyboardInterrupt: the build was cancelled.
    """
    trt = tools.trt
    flags = trt.NetworkDefinitionCreationFlag
    logger = logger_of(trt)
    forget()
    builder = need(made(trt.Builder, logger), "to make a builder")
    kind = bit(flags.STRONGLY_TYPED) | (
        bit(flags.PREFER_AOT_PYTHON_PLUGINS) if settings.plugins else 0
    )
    network = need(builder.create_network(kind), "to make a network")
    parser = need(made(trt.OnnxParser, network, logger), "to make a parser")
    if not parser.parse(model):
        raise _unparsed(parser)
    _count_plugins(trt, network, settings.plugins)
    config = need(builder.create_builder_config(), "to make a configuration")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    config.builder_optimization_level = _LEVEL
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector tells types
    monitor = monitor_for(trt, progress)  # TensorRT keeps no reference that Python knows of
    config.progress_monitor = monitor
    _choose(trt, config, settings)
    if profile:
        shapes = need(builder.create_optimization_profile(), "to make a profile")
        for name, (least, usual, most) in profile.items():
            shapes.set_shape(name, least, usual, most)
        index = need(config.add_optimization_profile(shapes), f"the shapes {profile}")
        need(index >= 0, f"the shapes {profile}")
    timings = _timing_cache(config, cache)
    plan = builder.build_serialized_network(network, config)
    if progress.cancelled:
        raise progress.failure or KeyboardInterrupt
    content = bytes(need(plan, "to build the plan"))
    return content, bytes(need(timings.serialize(), "to hand out the timing cache"))


def monitor_for(trt: Any, progress: Progress) -> Any:
    """TensorRT's view of a ``Progress``. Nothing may be raised into the library."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self.tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.tell(phase_name, step + 1)
            return not progress.cancelled

        def phase_finish(self, phase_name: str) -> None:
            self.tell(phase_name, self.steps.get(phase_name, 0))

        def tell(self, phase: str, done: int) -> None:
            try:
                progress.told(phase, done, self.steps.get(phase, 0))
            except Exception as error:
                progress.failure, progress.cancelled = error, True

    return Monitor()


def interruptible(work: Callable[[], Any], progress: Progress) -> Any:
    """Run a build on a thread of its own, so that Ctrl-C reaches Python while it runs.

    TensorRT is told to stop at its next step, and waited for; a second Ctrl-C does not wait.

    Raises:
        KeyboardInterrupt: after a Ctrl-C.
    """
    results: list[Any] = []
    errors: list[BaseException] = []
    finished = threading.Event()  # a join that Ctrl-C interrupted could not be repeated

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        while not finished.wait(0.1):
            pass
    except KeyboardInterrupt:
        progress.cancelled = True
        finished.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]


def _choose(trt: Any, config: Any, settings: Settings) -> None:
    if settings.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # it is set where nobody asks
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    levels = trt.HardwareCompatibilityLevel
    config.hardware_compatibility_level = {
        "none": levels.NONE,
        "same-capability": levels.SAME_COMPUTE_CAPABILITY,
        "ampere-plus": levels.AMPERE_PLUS,
    }[settings.hardware]


def _timing_cache(config: Any, content: bytes) -> Any:
    """The cache that the build uses; one that TensorRT does not take is begun anew."""
    cache = config.create_timing_cache(content)
    if cache is None or config.set_timing_cache(cache, False) is False:
        cache = need(config.create_timing_cache(b""), "to make a timing cache")
        need(config.set_timing_cache(cache, False), "a timing cache")
    return cache


def _count_plugins(trt: Any, network: Any, expected: int) -> None:
    kinds = [network.get_layer(index).type for index in range(network.num_layers)]
    found = sum(kind == trt.LayerType.PLUGIN_V3 for kind in kinds)
    if found != expected:
        raise BuildError(
            f"TensorRT made {found} plugins of the graph's {expected} operations of our own",
            "Export with --plugins off, which needs none.",
        )


def _unparsed(parser: Any) -> BuildError:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = "; ".join(f"{e.node_operator()} '{e.node_name()}': {e.desc()}" for e in errors)
    return BuildError(
        f"TensorRT does not read the graph: {told or 'it does not say why'}",
        "Try --plugins off, or another version of TensorRT.",
    )
