"""Building over the real bindings, with objects that answer, and refuse, as TensorRT would."""

from __future__ import annotations

import _thread
import signal
import threading
import time

import pytest
from fetch_bindings import WHEELS

from arnet.export.tensorrt.builder import Progress, interruptible

LAYERS = {
    "Layers": [
        {
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Format/Datatype": "Half"}],
            "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
        }
    ],
    "Bindings": ["x", "y"],
}


@pytest.mark.parametrize("version", WHEELS)
def test_a_plan_is_built_as_asked(drive, version) -> None:
    found = drive(version, "drive_builder.py", layers=LAYERS, cache="earlier")
    assert found["version"].startswith(f"{version}.")
    assert (found["plan"], found["cache"]) == ("plan", "timings")
    assert found["layers"] == [["CaskConvolution", ["float16"], ["float16"]]]
    assert found["network"] == ["STRONGLY_TYPED", "PREFER_AOT_PYTHON_PLUGINS"]
    assert found["config"] == {
        "builder_optimization_level": "3",
        "profiling_verbosity": "ProfilingVerbosity.DETAILED",
        "hardware_compatibility_level": "HardwareCompatibilityLevel.NONE",
    }
    calls = found["calls"]
    assert ["IOptimizationProfile.set_shape", ["shares", "(1, 1)", "(1, 5)", "(8, 80)"]] in calls
    assert ["IBuilderConfig.clear_flag", ["BuilderFlag.TF32"]] in calls
    assert ["IBuilderConfig.create_timing_cache", ["b'earlier'"]] in calls
    assert ["IExecutionContext.set_input_shape", ["shares", "(1, 5)"]] in calls
    assert found["inspected"] and not found["host_code"]
    names = [name for name, _ in calls]
    assert names.index("OnnxParser.parse") < names.index("INetworkDefinition.get_layer")
    assert found["steps"][0] == ["Building", 0, 2] and found["steps"][-1] == ["Building", 2, 2]


@pytest.mark.parametrize("version", WHEELS)
def test_all_that_wants_a_logger_is_given_the_same(drive, version) -> None:
    """TensorRT keeps the first of a process: builder, parser, and the runtimes of both sides."""
    assert drive(version, "drive_builder.py", layers=LAYERS)["logged"] == [5, 1]


@pytest.mark.parametrize("version", WHEELS)
def test_what_is_chosen_is_passed_on(drive, version) -> None:
    settings = {
        "tf32": True,
        "hardware": "same-capability",
        "version_compatible": True,
        "plugins": 0,
    }
    found = drive(version, "drive_builder.py", layers=LAYERS, settings=settings, plugins_found=0)
    flags = [a for name, a in found["calls"] if name == "IBuilderConfig.set_flag"]
    assert sorted(flags) == [["BuilderFlag.TF32"], ["BuilderFlag.VERSION_COMPATIBLE"]]
    assert "IBuilderConfig.clear_flag" not in [name for name, _ in found["calls"]]
    assert found["config"]["hardware_compatibility_level"].endswith(".SAME_COMPUTE_CAPABILITY")
    assert found["network"] == ["STRONGLY_TYPED"]
    assert found["host_code"]


@pytest.mark.parametrize("hardware", ["ampere-plus"])
def test_other_hardware(drive, hardware) -> None:
    found = drive("11.4", "drive_builder.py", layers=LAYERS, settings={"hardware": hardware})
    assert found["config"]["hardware_compatibility_level"].endswith(".AMPERE_PLUS")


REFUSALS = [
    ("Builder", None),
    ("OnnxParser", None),
    ("Runtime", None),
    ("Builder.create_network", None),
    ("Builder.create_builder_config", None),
    ("Builder.create_optimization_profile", None),
    ("Builder.build_serialized_network", None),
    ("IBuilderConfig.create_timing_cache", None),
    ("IBuilderConfig.set_timing_cache", False),
    ("IBuilderConfig.add_optimization_profile", -1),
    ("ITimingCache.serialize", None),
    ("OnnxParser.parse", False),
    ("Runtime.deserialize_cuda_engine", None),
    ("ICudaEngine.create_execution_context", None),
    ("ICudaEngine.create_engine_inspector", None),
    ("IExecutionContext.set_input_shape", False),
    ("EngineInspector.get_engine_information", None),
    ("EngineInspector.get_engine_information", ""),
]


@pytest.mark.parametrize(("call", "answer"), REFUSALS)
@pytest.mark.parametrize("version", ["10.13", "11.4"])
def test_every_refusal_is_a_typed_error(drive, version, call, answer) -> None:
    found = drive(version, "drive_builder.py", layers=LAYERS, refuse={call: answer})
    assert found.get("error") == "BuildError", found
    assert "TensorRT" in found["message"]
    # With the reason if one was logged; the parser has reasons of its own, an empty text has none.
    logged = "." in call and call != "OnnxParser.parse" and answer != ""
    assert (f"{call} will not)" in found["message"]) == logged
    assert "an older error" not in found["message"]
    assert ("left out" in found["message"]) == (call == "ITimingCache.serialize")  # of this build


def test_every_call_whose_answer_matters_was_refused_once(drive) -> None:
    """The list above is whole: what it lacks returns nothing or cannot refuse."""
    returns = drive("11.4", "list_methods.py")
    made = {name for name, _ in drive("11.4", "drive_builder.py", layers=LAYERS)["calls"]}
    silent = {name for name in made if returns[name.split(".")[1]] == ["None"]}
    assert silent == {
        "IBuilderConfig.set_memory_pool_limit",
        "IBuilderConfig.clear_flag",
        "IOptimizationProfile.set_shape",
    }
    assert made - silent - {call for call, _ in REFUSALS} == {"INetworkDefinition.get_layer"}


def test_a_graph_that_is_not_read_says_where(drive) -> None:
    found = drive("11.4", "drive_builder.py", refuse={"OnnxParser.parse": False})
    assert "MaskedPool 'node_7': no importer" in found["message"]


def test_an_inspector_that_does_not_take_the_shapes_is_an_error(drive) -> None:
    refuse = {"EngineInspector.execution_context": False}
    found = drive("11.4", "drive_builder.py", layers=LAYERS, refuse=refuse)
    assert found.get("message") == "TensorRT refused to inspect the plan at the usual shapes"


@pytest.mark.parametrize(("expected", "made"), [(2, 1), (0, 2), (3, 2)])
def test_another_number_of_plugins_is_an_error(drive, expected, made) -> None:
    """Whether TensorRT takes the plugin or the function of that name depends on its version."""
    found = drive(
        "11.4",
        "drive_builder.py",
        layers=LAYERS,
        settings={"plugins": expected},
        plugins_found=made,
    )
    assert found["error"] == "BuildError"
    assert f"made {made} plugins of the graph's {expected}" in found["message"]


def test_a_timing_cache_that_is_not_taken_is_begun_anew(drive) -> None:
    found = drive("11.4", "drive_builder.py", layers=LAYERS, cache="damaged")
    made = [a for name, a in found["calls"] if name == "IBuilderConfig.create_timing_cache"]
    assert made == [["b'damaged'"], ["b''"]] and found["plan"] == "plan"


@pytest.mark.parametrize("version", WHEELS)
def test_a_build_stops_when_it_is_told_to(drive, version) -> None:
    found = drive(version, "drive_builder.py", layers=LAYERS, cancel=True)
    assert found["error"] == "KeyboardInterrupt"
    assert found["steps"][-1] == ["Tactics", 2, 3]
    assert "Runtime.deserialize_cuda_engine" not in [name for name, _ in found["calls"]]


def test_a_progress_bar_that_fails_does_not_raise_into_tensorrt(drive) -> None:
    assert drive("11.4", "drive_builder.py", fail=True)["error"] == "ZeroDivisionError"


def test_ctrl_c_reaches_a_build_that_runs() -> None:
    progress, stopped = Progress(lambda *step: None), threading.Event()

    def work() -> None:
        deadline = time.monotonic() + 30
        while not progress.cancelled and time.monotonic() < deadline:
            time.sleep(0.01)
        stopped.set()

    # Where the tests run in the background, SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            interruptible(work, progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert progress.cancelled and stopped.is_set()  # it was waited for


def test_errors_of_a_build_are_those_of_the_caller() -> None:
    progress = Progress(lambda *step: None)
    assert interruptible(lambda: 7, progress) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0, progress)
    assert not progress.cancelled
