"""One set of plans: every stage that TensorRT runs, built, inspected and described."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from arnet.export.bundle import interface
from arnet.export.tensorrt.builder import Progress, Settings, Told, build_plan, interruptible
from arnet.export.tensorrt.graphs import convolutions, for_plugins, plugin_nodes
from arnet.export.tensorrt.inspection import Layer, census, check_built, inspect
from arnet.export.tensorrt.library import Toolchain
from arnet.export.tensorrt.profiles import Profile, Sizes, profile
from arnet.kernels import cache as kernel_cache
from arnet.kernels.compile import fingerprint
from arnet.kernels.plugins import PLUGINS, cuda_of, ptx, register_plugins
from arnet.runtime.bundle import PlanSet, PlanStage
from arnet.runtime.bundle.plans import PLANNED_STAGES
from arnet.runtime.errors import BuildError

_AMPERE = (8, 0)


@dataclass(frozen=True)
class PlanOptions:
    """What plans to build.

    Attributes:
        precision: one of ``arnet.runtime.bundle.plans.PRECISIONS``.
        hardware: one of ``arnet.runtime.bundle.plans.HARDWARE``.
        version_compatible: whether newer versions of TensorRT of the same major may run them.
        most_shots: of one class.
        most_classes: in one call of ``decode``.
    """

    precision: str
    hardware: str = "none"
    version_compatible: bool = False
    most_shots: int = 10
    most_classes: int = 4


def build_plans(
    tools: Toolchain,
    models: Mapping[str, ModelProto],
    options: PlanOptions,
    sizes: Sizes,
    told: Told = lambda phase, done, total: None,
) -> tuple[PlanSet, dict[str, bytes]]:
    """Build the plans of a bundle.

    Args:
        tools: TensorRT and the GPU.
        models: the graphs by stage; types are as they are to be built.
        options: how.
        sizes: shots and classes that the plans take.
        told: of the phases of TensorRT, from a thread of its own.

    Returns:
        What the manifest says of them, and the files by name.

    Raises:
        BuildError: TensorRT refused, or built something else than was asked for.
        KeyboardInterrupt: after a Ctrl-C, when TensorRT has stopped.
    """
    graphs = {
        name: for_plugins(models[name]) for name in PLANNED_STAGES if name in models
    }  # before anything is built: what cannot be a plugin is found at once
    plugins = sorted({op for graph in graphs.values() for op in plugin_nodes(graph)})
    if plugins:
        # A plan for other GPUs holds code that the oldest of them can run.
        oldest = _AMPERE if options.hardware == "ampere-plus" else tools.gpu.capability
        _check_driver(tools, plugins, oldest)
        register_plugins(oldest)
    timings = _TimingCache(tools)
    stages, files = {}, {}
    for name, graph in graphs.items():
        shapes = profile(name, interface(name, graph), sizes)
        progress = Progress(_of_stage(name, told))
        plan, layers = _build(tools, graph, shapes, options, timings, progress)
        check_built(name, options.precision, layers, convolutions(graph, options.precision))
        file = f"{name}.sm{tools.gpu.capability[0]}{tools.gpu.capability[1]}.plan"
        stages[name] = PlanStage(file, census(layers))
        files[file] = plan
    described = PlanSet(
        precision=options.precision,
        tensorrt=tools.version,
        cuda=tools.gpu.cuda,
        driver=tools.gpu.driver,
        gpu=tools.gpu.name,
        capability=tools.gpu.capability,
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        plugins=tuple(plugins),
        shots=sizes.shots,
        classes=sizes.classes,
        stages=stages,
    )
    return described, files


def _check_driver(tools: Toolchain, plugins: Sequence[str], capability: tuple[int, int]) -> None:
    """Whether the driver takes the kernels' PTX; TensorRT would only say that the build failed."""
    needed = max(cuda_of(ptx(PLUGINS[op].source, capability)) for op in plugins)
    if tuple(map(int, tools.gpu.cuda.split("."))) < needed:
        raise BuildError(
            f"the kernels need a driver of CUDA {needed[0]}.{needed[1]};"
            f" {tools.gpu.driver} is of CUDA {tools.gpu.cuda}",
            "Update the driver, or export with --plugins off.",
        )


def _of_stage(name: str, told: Told) -> Told:
    return lambda phase, done, total: told(f"{name}: {phase}", done, total)


def _build(
    tools: Toolchain,
    graph: ModelProto,
    shapes: Profile,
    options: PlanOptions,
    timings: _TimingCache,
    progress: Progress,
) -> tuple[bytes, list[Layer]]:
    settings = Settings(
        tf32=options.precision == "tf32",
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        plugins=len(plugin_nodes(graph)),
    )
    content = onnx.ModelProto.SerializeToString(graph, deterministic=True)

    def work() -> tuple[bytes, list[Layer]]:
        plan, kept = build_plan(tools, content, shapes, settings, timings.read(), progress)
        timings.write(kept)
        return plan, inspect(tools, plan, shapes, settings.version_compatible)

    built: tuple[bytes, list[Layer]] = interruptible(work, progress)
    return built


class _TimingCache:
    """What TensorRT measured, kept among the compiled kernels so that the next build is faster.

    TensorRT does not tell two versions of a plugin apart: the kernels' sources are in the name.
    """

    def __init__(self, tools: Toolchain) -> None:
        sources = sorted({spec.source for spec in PLUGINS.values()})
        gpu = tools.gpu
        parts = (
            *map(fingerprint, sources),
            tools.version,
            gpu.name,
            str(gpu.capability),
            gpu.driver,
        )
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        self.path: Path = kernel_cache.folder() / f"tensorrt-timing-{key}"

    def read(self) -> bytes:
        """The cache, empty where there is none."""
        try:
            return self.path.read_bytes()
        except OSError:
            return b""

    def write(self, content: bytes) -> None:
        """Keep it, if the folder can be written: without it all works, but slower."""
        with suppress(OSError):
            kernel_cache.write(self.path, content)
