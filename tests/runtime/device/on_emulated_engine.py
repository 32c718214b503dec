"""The engine on the emulated GPU; test_emulated.py runs these tests in a process of their own."""

from __future__ import annotations

import os
import threading

import fake_tensorrt
import numpy as np
import pytest
from on_emulated_common import (
    BLUE,
    LOG,
    ONE_QUERY,
    RED,
    assert_same,
    frames,
    learned,
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes_together": False},
        {"first": False, "state": "float16"},
        {"fuse": False, "shots": 2},
    ],
    ids=lambda options: "-".join(map(str, options)) or "plain",
)
def test_it_says_what_onnx_runtime_does(options, both) -> None:
    on_gpu, on_cpu = both(**options)
    states = {"red": learned(on_cpu, RED), "blue": learned(on_cpu, BLUE)}
    for name, state in on_cpu.segment(frames(1)[0], states["red"]).classes.items():
        assert (name, state.probability.max() > 0.9) == ("object", True)  # there is something
    if options.get("classes_together") is not False and "shots" in options:
        states.pop("blue")  # the bundle takes one class of two shots
    expected = [on_cpu.segment(image, states) for image in frames(7)]
    for image, wanted in zip(frames(7), expected, strict=True):
        assert_same(on_gpu.segment(image, states), wanted)
    for found, wanted in zip(on_gpu.segment(frames(7), states), expected, strict=True):
        assert_same(found, wanted)
    for found, wanted in zip(on_gpu.label(frames(7), states), expected, strict=True):
        np.testing.assert_array_equal(found.labels, wanted.labels())


def test_it_learns_what_onnx_runtime_does(both) -> None:
    on_gpu, on_cpu = both()
    found, wanted = learned(on_gpu, RED, 3), learned(on_cpu, RED, 3)
    for part in ("per_shot", "per_class"):
        one, other = getattr(found, part), getattr(wanted, part)
        assert one.keys() == other.keys()
        for name in other:
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_a_stream_is_one_launch_for_each_frame(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    answers = on_gpu.segment(iter(frames(20)), state)
    for _ in range(6):  # each lane warms up, then is captured
        next(answers)
    LOG.clear()
    for _ in range(10):
        next(answers)
    assert LOG.lines() == ONE_QUERY * 10


def test_the_next_frame_is_launched_before_the_last_is_waited_for(both) -> None:
    on_gpu, on_cpu = both()
    seen = []

    def source():
        for number, image in enumerate(frames(8)):
            seen.append(number)
            yield image

    answers = on_gpu.segment(source(), learned(on_cpu, RED))
    next(answers)
    assert seen == [0, 1]
    assert len(list(answers)) == 7


def test_warm_up_capture_and_launch_come_in_their_order(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    fake_tensorrt.CALLS.clear()
    LOG.clear()
    for image in frames(3):
        on_gpu.segment(image, state)
    named = ("cuStreamSynchronize", "cuStreamBeginCapture", "cuStreamEndCapture", "cuGraph")
    lines = [line for line in LOG.lines() if line.startswith(named)]
    start = lines.index("cuStreamBeginCapture thread-local")
    assert lines[start - 1] == "cuStreamSynchronize"
    assert lines[start:] == [
        "cuStreamBeginCapture thread-local",
        "cuStreamEndCapture",
        "cuGraphInstantiate",
        "cuGraphUpload",
        "cuGraphLaunch",
        "cuGraphLaunch",
    ]
    # One context for each stage, all its shapes set before anything else, and never again.
    assert fake_tensorrt.CALLS.count("context") == 3


def test_photographs_of_many_sizes(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    sizes = [(24, 31), (30, 20), (33, 33), (24, 31), (20, 33), (21, 29), (22, 30), (30, 20)]
    images = [frames(1, size)[0] for size in sizes * 3]
    for found, image in zip(on_gpu.segment(images, state), images, strict=True):
        assert_same(found, on_cpu.segment(image, {"object": state}))


def test_states_stay_on_the_gpu_until_others_take_their_place(both) -> None:
    on_gpu, on_cpu = both()
    red, blue = learned(on_cpu, RED), learned(on_cpu, BLUE)
    (image,) = frames(1)
    for state in (red, red, blue, red, blue, blue, blue):
        assert_same(on_gpu.segment(image, state), on_cpu.segment(image, state))
    LOG.clear()
    on_gpu.segment(image, blue)
    assert LOG.lines() == ONE_QUERY
    on_gpu.segment(image, red)
    assert (
        LOG.lines()[len(ONE_QUERY) :].count("cuMemcpyAsync") == 4
    )  # match, self, refine and shares
    assert "cuMemAlloc" not in LOG.lines()


def test_more_shots_and_classes_than_before(both) -> None:
    on_gpu, on_cpu = both()
    (image,) = frames(1)
    for count in (1, 3, 2, 4, 1):
        states = {f"{n}": learned(on_cpu, RED if n % 2 else BLUE, n + 1) for n in range(count)}
        for _ in range(3):
            assert_same(on_gpu.segment(image, states), on_cpu.segment(image, states))


def test_shapes_that_come_again_make_no_new_contexts(both) -> None:
    """With every new one the code of plugins may leak, as it does with new shapes."""
    on_gpu, on_cpu = both(fuse=False)
    (image,) = frames(1)
    states = [learned(on_cpu, RED, shots) for shots in (1, 2, 3, 4)]  # more than stay captured
    expected = [on_cpu.segment(image, state) for state in states]

    def ask() -> None:
        for state, wanted in zip(states, expected, strict=True):
            for _ in range(3):  # uncaptured, captured, launched
                assert_same(on_gpu.segment(image, state), wanted)
            learned(on_gpu, RED, state.shots)

    ask()
    made = fake_tensorrt.CALLS.count("context")
    ask()
    assert fake_tensorrt.CALLS.count("context") == made


def test_streams_that_take_turns(both) -> None:
    on_gpu, on_cpu = both()
    states = [learned(on_cpu, RED), learned(on_cpu, BLUE)]
    streams = [on_gpu.segment(frames(6), state) for state in states]
    kept = []
    for image in frames(6):
        for stream, state in zip(streams, states, strict=True):
            kept.append((next(stream), on_cpu.segment(image, state)))
    for found, wanted in kept:  # no later answer has changed them
        assert_same(found, wanted)


def test_a_stream_that_is_left(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    for _ in range(5):
        next(on_gpu.segment(frames(6), state))
    assert_same(on_gpu.segment(frames(1)[0], state), on_cpu.segment(frames(1)[0], state))


def test_a_frame_that_is_none_comes_after_the_answers_before_it(both) -> None:
    on_gpu, on_cpu = both()
    answers = on_gpu.segment([*frames(3), np.zeros(5)], learned(on_cpu, RED))
    assert len([next(answers) for _ in range(3)]) == 3
    with pytest.raises(Exception, match="a photograph is an array"):
        next(answers)


def test_many_threads(both) -> None:
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    images = frames(6)
    expected = [on_cpu.segment(image, state) for image in images]
    wrong = []

    def work(seed):
        try:
            for n in range(12):
                at = (n * seed) % 6
                assert_same(on_gpu.segment(images[at], state), expected[at])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_without_graphs(planned, both, monkeypatch) -> None:
    monkeypatch.setenv("ARNET_GRAPHS", "off")
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    LOG.clear()
    for found, image in zip(on_gpu.segment(frames(5), state), frames(5), strict=True):
        assert_same(found, on_cpu.segment(image, state))
    assert not [line for line in LOG.lines() if "Graph" in line or "Capture" in line]
    assert on_gpu.describe()["graphs"] is False


def test_without_graphs_every_part_has_its_time(both, monkeypatch) -> None:
    monkeypatch.setenv("ARNET_GRAPHS", "off")
    on_gpu, on_cpu = both()
    state = learned(on_cpu, RED)
    for image in frames(3):
        LOG.clear()
        found = on_gpu.segment(image, state)
    enqueue = found.device.pop("enqueue")
    parts = ("upload", "preprocess", "encode_image", "encode_query", "decode", "postprocess",
             "download")  # fmt: skip
    assert found.device == dict.fromkeys(parts, 0.001)  # the emulated clock
    assert 0 < enqueue <= found.seconds["start"]
    # A mark stands behind the work of its part, and two more around all.
    work = "".join({"cuEventRecord": "|", "cuMemcpyAsync": "c", "cuLaunchHostFunc": "t"}.get(line,
                   "k" if "process" in line else "") for line in LOG.lines())  # fmt: skip
    assert work == "|c|k|t|t|t|kk|ccc||"


def test_how_long_the_gpu_took(both) -> None:
    on_gpu, on_cpu = both()
    found = on_gpu.segment(frames(1)[0], learned(on_cpu, RED))
    assert found.device["query"] == 0.001  # the emulated clock
    assert found.device["enqueue"] == found.seconds["start"] > 0
    (labels,) = on_gpu.label(frames(1), {"object": learned(on_cpu, RED)})
    assert labels.device == {"query": 0.001, "enqueue": labels.seconds["start"]}


def test_what_it_is(both) -> None:
    on_gpu, _ = both()
    described = on_gpu.describe()
    assert described["engine"] == "tensorrt"
    assert described["device"] == "emulated"
    assert described["driver_library"].startswith(os.environ["ARNET_GPU_LIBRARY"])
