"""A replay's order of things: here over a torch.cuda that only writes down what is asked of it."""

from __future__ import annotations

import inspect
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

from arnet.export import replay as module
from arnet.export.replay import WARM_UP, Replay

CPU = torch.device("cpu")
FIRST, SECOND = (np.full((2, 3, 3), value, np.uint8) for value in (1, 4))


def steps(log: list[str] | None = None):
    def told(name: str) -> None:
        if log is not None:
            log.append(name)

    def add(tensors):
        told("add")
        return {"more": tensors["image"].float() + 1}

    def total(tensors):
        told("sum")
        return {"total": tensors["more"].sum()}

    return [("add", add), ("sum", total)]


@pytest.mark.parametrize(
    ("graphs", "names"), [("one", ("query",)), ("stages", ("add", "sum")), ("none", ("add", "sum"))]
)
def test_the_answer_is_that_of_the_photograph_and_every_part_has_a_time(graphs, names) -> None:
    replay = Replay(steps(), ["total"], FIRST, CPU, graphs)
    assert replay(FIRST)["total"] == 36
    assert replay(SECOND)["total"] == 90
    assert replay.names == names == tuple(replay.seconds())
    assert all(spent > 0 for spent in replay.seconds().values())


def test_settings_are_those_asked_for_and_only_meanwhile() -> None:
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    with module.tuned():
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == (True, False)
    with module.tuned(tf32=True):
        assert torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == before


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a GPU that is not there; arguments are checked as the real one does."""
    log: list[str] = []
    capture = inspect.signature(torch.cuda.graph.__init__)

    class Stream:
        def __init__(self, device) -> None: ...

        def wait_stream(self, other) -> None:
            log.append("wait for torch's stream")

        def synchronize(self) -> None:
            log.append("synchronise")

    class Event:
        def __init__(self, enable_timing: bool = False) -> None:
            self.name = "event" if enable_timing else "done"

        def record(self) -> None:
            log.append(self.name)

        def synchronize(self) -> None:
            log.append(f"wait for {self.name}")

        def elapsed_time(self, other) -> float:
            return 1.5

    class Graph:
        def replay(self) -> None:
            log.append("replay")

    @contextmanager
    def graph(*arguments, **options):
        bound = capture.bind(None, *arguments, **options)
        assert bound.arguments["capture_error_mode"] == "thread_local"
        assert isinstance(bound.arguments["stream"], Stream)
        log.append("capture")
        yield
        log.append("captured")

    monkeypatch.setattr(module, "is_gpu", lambda device: True)
    for name, value in {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": graph,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda device: None,
        "graph_pool_handle": lambda: (0, 1),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    return log


@pytest.mark.parametrize(
    ("graphs", "captured", "replayed"),
    [
        ("one", ["capture", "add", "sum", "captured"], ["event", "replay", "event"]),
        (
            "stages",
            ["capture", "add", "captured", "capture", "sum", "captured"],
            ["event", "replay", "event", "replay", "event"],
        ),
        ("none", None, ["event", "add", "event", "sum", "event"]),
    ],
)
def test_on_a_gpu_nothing_is_waited_for_but_the_answer(graphs, captured, replayed, log) -> None:
    replay = Replay(steps(log), ["total"], FIRST, CPU, graphs)
    warm = ["wait for torch's stream", *["add", "sum"] * WARM_UP, "synchronise"]
    assert log == warm + ([] if captured is None else [*captured, "synchronise"])
    log.clear()
    replay.given[...] = SECOND
    replay.enqueue()
    assert log == [*replayed, "done"]
    log.clear()
    replay.wait()
    assert log == ["wait for done"]
    assert replay.seconds() == dict.fromkeys(replay.names, 0.0015)
    if graphs == "none":
        assert replay.answers() == {"total": 90}


def test_an_answer_stays_when_the_next_one_comes(log) -> None:
    replay = Replay(steps(), ["total"], FIRST, CPU, "none")
    first = replay(FIRST)["total"]
    assert replay(SECOND)["total"] == 90 and first == 36
