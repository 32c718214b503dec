"""What the runtime asks of TensorRT, held against the real bindings of several versions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BINDINGS = Path(__file__).parents[2] / "tensorrt"
VERSIONS = ("10.13", "10.16", "11.2", "11.4")


@pytest.fixture
def drive():
    """Runs tests/tensorrt/drive_engine.py over the bindings of a version."""
    pytest.importorskip("onnx")
    if not BINDINGS.is_dir():
        pytest.skip("the folder tests/tensorrt is not here")
    sys.path.append(str(BINDINGS))
    from fetch_bindings import UnavailableError, run

    def drive(version: str, **job: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(run(version, "drive_engine.py", json.dumps(job)))
        except UnavailableError as error:
            pytest.skip(str(error))
        return answer

    return drive


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_is_loaded_and_run(version: str, drive) -> None:
    answer = drive(version)
    assert answer["calls"] == [
        ["Runtime.deserialize_cuda_engine", "b'plan'"],
        [
            "ICudaEngine.create_execution_context",
            "ExecutionContextAllocationStrategy.USER_MANAGED",
        ],
        ["IExecutionContext.set_input_shape", "pixels", "(2, 3, 33, 33)"],
        ["IExecutionContext.infer_shapes"],
        ["IExecutionContext.set_tensor_address", "pixels", "256"],
        ["IExecutionContext.set_tensor_address", "features", "512"],
        ["IExecutionContext.set_device_memory", "1024", "4096"],
        ["IExecutionContext.execute_async_v3", "4096"],
    ]
    assert answer["outputs"] == {"features": [2, 4, 5, 5]}
    assert answer["host_code"] is False


def test_a_context_that_was_released_is_taken_again_without_addresses(drive) -> None:
    answer = drive(VERSIONS[-1])
    assert answer["again"] == [True, False]
    assert "no addresses yet" in answer["unbound"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_compatible_plan_may_run_code_of_the_host(version: str, drive) -> None:
    assert drive(version, version_compatible=True)["host_code"] is True


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("Runtime", None),
        ("Runtime.deserialize_cuda_engine", None),
        ("ICudaEngine.create_execution_context", None),
        ("IExecutionContext.set_input_shape", False),
        ("IExecutionContext.infer_shapes", ["pixels"]),
        ("IExecutionContext.set_tensor_address", False),
        ("IExecutionContext.execute_async_v3", False),
    ],
)
def test_a_refusal_is_told_with_what_was_logged_then_and_nothing_older(
    method: str, answer: Any, drive
) -> None:
    refused = drive(VERSIONS[-1], refuse={method: answer})
    assert refused["error"] == "EngineError"
    told = refused["message"]
    if method == "Runtime":
        assert told == "TensorRT 11.4.0.106 refused to start"
    elif method.endswith("infer_shapes"):
        assert told == "the stage 'encode_image' was not given the shapes of pixels"
    else:
        assert "'encode_image'" in told and told.endswith(f" ({method} will not)")


def test_shapes_that_the_plan_was_not_built_for(drive) -> None:
    refused = drive(VERSIONS[-1], shape=[3, 3, 33, 33])
    assert (
        "from (1, 3, 33, 33) to (2, 3, 33, 33); it was given (3, 3, 33, 33)" in refused["message"]
    )
