"""From the graphs of a real bundle to a set of plans; TensorRT itself is stood in for."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from arnet.export.bundle import interface
from arnet.export.tensorrt import plans
from arnet.export.tensorrt.builder import Settings
from arnet.export.tensorrt.inspection import Layer
from arnet.export.tensorrt.library import Gpu, Toolchain
from arnet.export.tensorrt.plans import PlanOptions, build_plans
from arnet.export.tensorrt.profiles import profile, sizes_for
from arnet.kernels import compile as kernels_compile
from arnet.runtime.bundle.plans import PLANNED_STAGES
from arnet.runtime.errors import BuildError

SIZES = sizes_for(10, 4, None, True)


class Package:
    __version__ = "11.4.0.106"


TOOLS = Toolchain(Package(), Gpu("NVIDIA H200", (9, 0), "580.65.06", "13.0"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tensorrt(monkeypatch):
    """Builds anything and tells of layers of a type; keeps what it was given."""

    class TensorRT:
        built = "float16"

        def __init__(self) -> None:
            self.calls = []
            self.registered = []

        def build(self, tools, model, shapes, settings, timings, progress):
            graph = onnx.ModelProto.FromString(model)
            progress.told("Tactics", 1, 2)
            self.calls.append((graph, shapes, settings, timings))
            return b"plan %d" % len(self.calls), timings + b"!"

        def inspect(self, tools, plan, shapes, version_compatible):
            return [Layer("CaskConvolution", (self.built,), (self.built,))] * 3

    stand_in = TensorRT()
    monkeypatch.setattr(plans, "build_plan", stand_in.build)
    monkeypatch.setattr(plans, "inspect", stand_in.inspect)
    monkeypatch.setattr(plans, "register_plugins", stand_in.registered.append)
    monkeypatch.setattr(plans, "ptx", lambda source, capability: b"//\n.version 9.0\n")
    return stand_in


def test_every_stage_gets_a_plan(half_graphs, tensorrt) -> None:
    steps = []
    found, files = build_plans(
        TOOLS, half_graphs, PlanOptions("fp16"), SIZES, lambda *step: steps.append(step)
    )
    assert list(found.stages) == list(PLANNED_STAGES)
    assert files == {
        f"{name}.sm90.plan": b"plan %d" % (n + 1) for n, name in enumerate(PLANNED_STAGES)
    }
    assert {stage.file for stage in found.stages.values()} == set(files)
    assert found.stages["decode"].built == {"float16": 3}
    assert (found.tensorrt, found.cuda, found.driver) == ("11.4.0.106", "13.0", "580.65.06")
    assert (found.gpu, found.capability, found.precision) == ("NVIDIA H200", (9, 0), "fp16")
    assert found.plugins == ("ForgetEnhanceBlock", "MaskedPool", "MaskedShiftSum")
    assert (found.shots, found.classes) == ((1, 5, 10), (1, 1, 4))
    assert ("decode: Tactics", 1, 2) in steps
    graphs = {name: call for name, call in zip(PLANNED_STAGES, tensorrt.calls, strict=True)}
    assert graphs["fuse_support"][2].plugins == 3 and graphs["decode"][2].plugins == 2
    stage = interface("decode", half_graphs["decode"])
    assert graphs["decode"][1] == profile("decode", stage, SIZES)


def test_plain_graphs_need_no_plugins(plain_graphs, tensorrt) -> None:
    tensorrt.built = "float32"
    found, _ = build_plans(TOOLS, plain_graphs, PlanOptions("fp32"), SIZES)
    assert found.plugins == () and tensorrt.registered == []
    assert {call[2].plugins for call in tensorrt.calls} == {0}


@pytest.mark.parametrize(
    ("hardware", "capability"),
    [("none", (9, 0)), ("same-capability", (9, 0)), ("ampere-plus", (8, 0))],
)
def test_kernels_are_for_the_oldest_gpu_that_runs_the_plans(
    half_graphs, tensorrt, hardware, capability
) -> None:
    options = PlanOptions("fp16", hardware, version_compatible=True)
    found, _ = build_plans(TOOLS, half_graphs, options, SIZES)
    assert tensorrt.registered == [capability]
    assert (found.hardware, found.version_compatible) == (hardware, True)
    assert tensorrt.calls[0][2] == Settings(False, hardware, True, 0)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_tf32_is_a_choice(graphs, tensorrt, precision) -> None:
    tensorrt.built = "float32"
    build_plans(TOOLS, graphs, PlanOptions(precision), SIZES)
    assert {call[2].tf32 for call in tensorrt.calls} == {precision == "tf32"}


def test_what_was_built_otherwise_is_an_error(half_graphs, tensorrt) -> None:
    tensorrt.built = "float32"
    with pytest.raises(BuildError, match="'encode_image' is not fp16"):
        build_plans(TOOLS, half_graphs, PlanOptions("fp16"), SIZES)


def test_a_driver_that_does_not_take_the_kernels_is_told(
    half_graphs, plain_graphs, tensorrt
) -> None:
    old = Toolchain(Package(), replace(TOOLS.gpu, cuda="12.8", driver="570.10"))
    with pytest.raises(BuildError, match=r"need a driver of CUDA 13\.0; 570\.10 is of CUDA 12\.8"):
        build_plans(old, half_graphs, PlanOptions("fp16"), SIZES)
    tensorrt.built = "float32"
    assert tensorrt.calls == [] and build_plans(old, plain_graphs, PlanOptions("fp32"), SIZES)


def test_timings_are_kept_for_this_gpu_tensorrt_and_these_kernels(
    half_graphs, tensorrt, cache, monkeypatch
) -> None:
    def first_timings(tools=TOOLS):
        tensorrt.calls.clear()
        build_plans(tools, half_graphs, PlanOptions("fp16"), SIZES)
        return tensorrt.calls[0][3]

    assert first_timings() == b""
    assert tensorrt.calls[1][3] == b"!"  # from stage to stage
    assert first_timings() == b"!!!!!"  # and from build to build
    assert len(list(cache.iterdir())) == 1
    other = Toolchain(Package(), Gpu("NVIDIA L4", (8, 9), "580.65.06", "13.0"))
    assert first_timings(other) == b""
    monkeypatch.setattr(Package, "__version__", "11.2.1.2")
    assert first_timings() == b""
    source = kernels_compile.source_text
    monkeypatch.setattr(kernels_compile, "source_text", lambda name: source(name) + "// edited")
    assert first_timings() == b""


def test_a_cache_that_cannot_be_written_stops_nothing(half_graphs, tensorrt, cache) -> None:
    cache.write_text("a file where the folder should be")
    assert build_plans(TOOLS, half_graphs, PlanOptions("fp16"), SIZES)
