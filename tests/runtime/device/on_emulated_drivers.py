"""The drivers on the emulated GPU; test_emulated.py runs these tests in a process of their own.

Nothing that is enqueued happens there before somebody waits for it.
"""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from on_emulated_common import LOG

from arnet.runtime.device import open_driver
from arnet.runtime.errors import EngineError


@pytest.fixture(scope="module")
def driver():
    return open_driver()


@pytest.mark.skipif(os.environ["ARNET_GPU_LIBRARY"] != "pycuda", reason="of pycuda")
def test_without_cuda_core_graphs_are_refused_when_the_gpu_is_opened(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    with pytest.raises(EngineError, match=r"CUDA graphs need cuda\.core") as caught:
        open_driver()
    assert "pip install cuda-bindings cuda-core" in caught.value.hint
    monkeypatch.setenv("ARNET_GRAPHS", "off")
    assert open_driver().library.startswith("pycuda")


def test_numbers_go_to_the_gpu_and_back_when_the_stream_gets_there(driver) -> None:
    with driver.current():
        stream, memory = driver.stream(), driver.allocate(1000)
        there, back = driver.pinned(1000), driver.pinned(1000)
        assert memory.address % 256 == 0
        there.array[:] = np.arange(1000) % 251
        driver.upload(memory, there.array, stream)
        driver.download(back.array, memory, stream)
        assert (back.array == 0xFF).all()  # nobody has waited yet
        stream.synchronise()
        np.testing.assert_array_equal(back.array, there.array)


def test_a_stream_waits_for_the_event_of_another(driver) -> None:
    with driver.current():
        first, second, event = driver.stream(), driver.stream(), driver.event()
        memory, back = driver.allocate(256), driver.pinned(256)
        driver.upload(memory, np.full(256, 7, np.uint8), first)
        first.record(event)
        second.wait(event)
        driver.download(back.array, memory, second)
        second.synchronise()
        assert (back.array == 7).all()


def test_without_the_event_it_does_not(driver) -> None:
    with driver.current():
        first, second, event = driver.stream(), driver.stream(), driver.event()
        memory, back = driver.allocate(256), driver.pinned(256)
        source = np.full(256, 7, np.uint8)
        driver.upload(memory, source, first)
        first.record(event)
        driver.download(back.array, memory, second)
        second.synchronise()
        assert (back.array == 0xFF).all()
        event.synchronise()


def test_a_graph_reads_what_lies_there_when_it_is_launched(driver) -> None:
    with driver.current():
        stream, event = driver.stream(), driver.event()
        memory, there, back = driver.allocate(64), driver.pinned(64), driver.pinned(64)

        def work():
            driver.upload(memory, there.array, stream)
            driver.download(back.array, memory, stream)

        graph = driver.capture(stream, work)
        stream.synchronise()
        assert (back.array == 0xFF).all()  # captured, not done
        for number in (1, 2):
            there.array[:] = number
            graph.launch(stream)
            stream.record(event)
            event.synchronise()
            assert (back.array == number).all()
        graph.close()


def test_a_capture_that_fails_leaves_the_stream_as_it_was(driver) -> None:
    with driver.current():
        stream, back = driver.stream(), driver.pinned(64)

        def work():
            driver.allocate(64)

        with pytest.raises(EngineError, match=r"refuses 64 bytes|CUDA graph"):
            driver.capture(stream, work)
        driver.download(back.array, driver.allocate(64), stream)
        stream.synchronise()


def test_memory_is_given_back_when_it_is_not_used_any_more(driver) -> None:
    with driver.current():
        memory, pinned = driver.allocate(64), driver.pinned(64)
    LOG.clear()
    thread = threading.Thread(target=lambda kept: kept.clear(), args=([memory, pinned],))
    del memory, pinned
    thread.start()  # in a thread that has no context
    thread.join()
    thread = None
    assert sorted(LOG.lines()) == ["cuMemFree", "cuMemFreeHost"]
