"""What TensorRT refuses; test_emulated.py runs these tests in a process of their own."""

from __future__ import annotations

import fake_tensorrt
import pytest
from on_emulated_common import (
    RED,
    assert_same,
    frames,
    learned,
)
from plans_in_bundle import add_plans

from arnet.runtime.bundle import Bundle
from arnet.runtime.engines.tensorrt import open_tensorrt
from arnet.runtime.errors import EngineError
from arnet.runtime.segmenter import Segmenter


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("deserialize_cuda_engine", "refused the plan of the stage .*another version"),
        ("create_execution_context", "refused a context of the stage 'encode_image'"),
        ("set_input_shape", r"refused pixels \(1, 3, 33, 33\) of the stage 'encode_image'"),
        ("set_tensor_address", "refused the address of pixels of the stage 'encode_image'"),
        ("execute_async_v3", "refused to run the stage 'encode_image'"),
    ],
)
def test_what_tensorrt_refuses_is_told(method, message, planned) -> None:
    fake_tensorrt.REFUSED.add(method)
    with pytest.raises(EngineError, match=f"TensorRT {fake_tensorrt.VERSION} {message}"):
        learned(Segmenter.load(planned(), "tensorrt"), RED)


def test_a_query_that_was_refused_can_be_tried_again(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    (image,) = frames(1)
    wanted = on_cpu.segment(image, state)
    assert_same(on_gpu.segment(image, state), wanted)
    fake_tensorrt.REFUSED.add("execute_async_v3")
    with pytest.raises(EngineError, match="refused to run the stage"):
        on_gpu.segment(image, state)  # in the capture
    fake_tensorrt.REFUSED.clear()
    for _ in range(3):
        assert_same(on_gpu.segment(image, state), wanted)


def test_more_than_the_plan_takes(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED, fake_tensorrt.MOST + 1)
    with pytest.raises(
        EngineError, match=r"takes shares from \(1, 1\) to \(16, 16\); it was given \(1, 17"
    ):
        on_gpu.segment(frames(1)[0], state)


def test_a_plan_of_other_tensors(tiny, tmp_path) -> None:
    folder = tiny.make_bundle(tmp_path / "b")
    add_plans(folder, swap={"decode": "encode_query"})
    with pytest.raises(EngineError, match="plan of the stage 'decode' has the tensors features"):
        open_tensorrt(Bundle.open(folder))


def test_what_is_closed_runs_no_more(planned) -> None:
    segmenter = Segmenter.load(planned(), "tensorrt")
    state = learned(segmenter, RED)
    answers = segmenter.segment(frames(4), state)
    next(answers)
    segmenter.close()
    with pytest.raises(EngineError, match="closed"):
        segmenter.segment(frames(1)[0], state)
