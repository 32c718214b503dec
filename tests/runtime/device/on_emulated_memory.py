"""Memory of the emulated GPU; test_emulated.py runs these tests in a process of their own.

It is given back by counting references, so the garbage collector is off in all of them.
"""

from __future__ import annotations

import ctypes
import gc
import weakref

import pytest
from on_emulated_common import BLUE, LOG, RED, frames, learned

from arnet.runtime.device import open_driver
from arnet.runtime.engines.lane import SIZES_KEPT

ALLOCATED = ("cuMemAlloc", "cuMemHostAlloc")
FREED = ("cuMemFree", "cuMemFreeHost")
OVERRUN = "written behind an allocation"


@pytest.fixture(autouse=True)
def without_the_collector():
    gc.collect()  # what other tests left must not be counted here
    gc.disable()
    LOG.clear()
    yield
    gc.enable()


@pytest.fixture
def buffers(monkeypatch):
    """Weak references to all that is allocated, each with its address."""
    kind = type(open_driver())
    found = []

    def noted(name, address):
        allocate = getattr(kind, name)

        def method(driver, count):
            memory = allocate(driver, count)
            found.append((weakref.ref(memory), address(memory), count))
            return memory

        monkeypatch.setattr(kind, name, method)

    noted("allocate", lambda memory: memory.address)
    noted("pinned", lambda memory: memory.array.ctypes.data)
    return found


def memory_calls():
    return [line for line in LOG.lines() if line in ALLOCATED + FREED]


def assert_all_given_back():
    for allocated, freed in zip(ALLOCATED, FREED, strict=True):
        assert LOG.lines().count(allocated) == LOG.lines().count(freed) > 0


def use(segmenter) -> None:
    """All kinds of buffers: two lanes, maps and labels, one class and two."""
    states = {"red": learned(segmenter, RED), "blue": learned(segmenter, BLUE)}
    list(segmenter.segment(frames(5, (23, 29)), states["red"]))
    list(segmenter.segment(frames(5, (23, 29)), states))
    list(segmenter.label(frames(5, (23, 29)), states))


@pytest.mark.parametrize("graphs", ["on", "off"])
def test_closing_gives_everything_back(graphs, both, monkeypatch) -> None:
    monkeypatch.setenv("ARNET_GRAPHS", graphs)
    on_gpu, _ = both()
    use(on_gpu)
    on_gpu.close()
    assert_all_given_back()


def test_nothing_was_written_where_nothing_is(both) -> None:
    on_gpu, _ = both()
    use(on_gpu)
    on_gpu.close()
    assert_all_given_back()  # which is when the emulation looks
    assert OVERRUN not in LOG.lines()


def test_what_was_written_behind_any_buffer_is_found(both, buffers) -> None:
    on_gpu, _ = both()
    use(on_gpu)
    assert OVERRUN not in LOG.lines()
    planted = [(at, count) for memory, at, count in buffers if memory() is not None]
    for at, count in planted:
        ctypes.memset(at + count, 0, 1)
    on_gpu.close()
    assert LOG.lines().count(OVERRUN) == len(planted) > 30


def test_a_size_that_goes_is_gone_before_another_comes(both) -> None:
    on_gpu, _ = both()
    state = learned(on_gpu, RED)
    sizes = [(20 + n, 30) for n in range(SIZES_KEPT + 3)]
    for size in sizes[:SIZES_KEPT]:
        on_gpu.segment(frames(1, size)[0], state)
    for size in sizes[SIZES_KEPT:]:
        LOG.clear()
        on_gpu.segment(frames(1, size)[0], state)
        calls = memory_calls()
        half = len(calls) // 2
        assert set(calls[:half]) == set(FREED)
        assert set(calls[half:]) == set(ALLOCATED)


def test_a_form_that_goes_is_gone_before_another_comes(both) -> None:
    on_gpu, _ = both(fuse=False)
    (image,) = frames(1)
    states = [learned(on_gpu, RED, shots) for shots in range(1, 9)]
    for number, state in enumerate(states):
        LOG.clear()
        on_gpu.segment(image, state)
        if number < 5:  # so many are the states and forms that stay
            continue
        assert_all_given_back()  # as much as was taken
        lines = LOG.lines()
        new = lines.index("cuStreamCreate non-blocking")  # the new lane, if not its states
        assert not set(FREED) & set(lines[new:])
