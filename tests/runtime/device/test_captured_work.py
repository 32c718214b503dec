"""Work comes into a graph in one order, and in no other."""

from __future__ import annotations

import gc
import weakref

import pytest

from arnet.runtime.device.captured_work import CapturedWork, Phase
from arnet.runtime.errors import EngineError


class Recorder:
    """Driver, stream and graph in one: writes down what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: set[str] = set()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.fails:
            raise EngineError(call)

    def enqueue(self) -> None:
        self._note("enqueue")

    def synchronise(self) -> None:
        self._note("synchronise")

    def capture(self, stream, work):
        self.calls.append("begin capture")
        work()
        self._note("end capture")
        return self

    def launch(self, stream) -> None:
        self._note("launch")

    def close(self) -> None:
        self._note("close")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def captured_work(recorder: Recorder, graphs: bool = True) -> CapturedWork:
    return CapturedWork(recorder, recorder, recorder.enqueue, graphs)


def test_the_order(recorder) -> None:
    work = captured_work(recorder)
    work.run()
    assert recorder.calls == ["enqueue", "synchronise"]
    work.run()
    assert recorder.calls[2:] == ["begin capture", "enqueue", "end capture", "launch"]
    work.run()
    work.run()
    assert recorder.calls[6:] == ["launch", "launch"]
    work.close()
    assert recorder.calls[8:] == ["synchronise", "close"]


@pytest.mark.parametrize(
    ("done", "wrong"),
    [
        ([], "capture"),
        ([], "launch"),
        (["warm_up"], "warm_up"),
        (["warm_up"], "launch"),
        (["warm_up", "capture"], "warm_up"),
        (["warm_up", "capture"], "capture"),
        (["close"], "warm_up"),
        (["warm_up", "capture", "close"], "launch"),
    ],
)
def test_any_other_order_is_refused(done, wrong, recorder) -> None:
    work = captured_work(recorder)
    for step in done:
        getattr(work, step)()
    before = list(recorder.calls)
    with pytest.raises(EngineError, match=r"cannot be .* while .*; needed: "):
        getattr(work, wrong)()
    assert recorder.calls == before


@pytest.mark.parametrize(
    ("fails", "phase"), [("synchronise", Phase.FIXED), ("end capture", Phase.WARM)]
)
def test_what_failed_is_tried_again(fails, phase, recorder) -> None:
    work = captured_work(recorder)
    recorder.fails = {fails}
    for _ in range(2):
        with pytest.raises(EngineError):
            while True:
                work.run()
        assert work.phase is phase
    recorder.fails = set()
    while work.phase is not Phase.CAPTURED:
        work.run()


def test_without_graphs_it_is_enqueued_each_time(recorder) -> None:
    work = captured_work(recorder, graphs=False)
    for _ in range(3):
        work.run()
    assert recorder.calls == ["enqueue", "synchronise", "enqueue", "enqueue"]
    work.close()


def test_it_is_closed_once(recorder) -> None:
    work = captured_work(recorder)
    work.close()
    work.close()
    assert recorder.calls == ["synchronise"]


def test_what_owns_it_goes_at_once_when_it_was_closed(recorder) -> None:
    class Owner:
        def __init__(self) -> None:
            self.work = CapturedWork(recorder, recorder, self.enqueue)

        def enqueue(self) -> None:
            recorder.enqueue()

    gc.disable()
    try:
        owner = Owner()
        for _ in range(3):
            owner.work.run()
        owner.work.close()
        left = weakref.ref(owner)
        del owner
        assert left() is None
    finally:
        gc.enable()
