"""A stream of queries on the GPU: a photograph is uploaded while the one before is computed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.errors import ArnetError
from arnet.runtime.device import Driver
from arnet.runtime.device.tensor import DeviceTensor
from arnet.runtime.engines.engine import QueryAnswer
from arnet.runtime.engines.kit import Kit
from arnet.runtime.engines.lane import Call, Lane
from arnet.runtime.errors import EngineError

LANES = 2
"""Queries that are under way at a time: one computes while the next is uploaded."""

Form = tuple[tuple[tuple[str, str, tuple[int, ...]], ...], ...]
"""Names, types and shapes of what every call of ``decode`` takes of the states."""


class Guard:
    """One thread at a time, in the GPU's context, with one kind of error."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lock = threading.RLock()

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """For a block that changes something or puts work into a stream."""
        with self._lock, self.beside(what):
            yield

    @contextmanager
    def beside(self, what: str) -> Iterator[None]:
        """For a block that only waits; other threads go on meanwhile.

        Raises:
            EngineError: the library that drives the GPU raised something.
        """
        try:
            with self._driver.current():
                yield
        except ArnetError:
            raise
        except Exception as error:  # every library has errors of its own
            raise EngineError(
                f"the GPU failed {what} ({type(error).__name__}: {error})",
                "Start anew; if it happens again, check the GPU with nvidia-smi.",
            ) from error


class Pending:
    """An answer that is on its way.

    Attributes:
        lane: that works on it; None once the answer was taken out of it.
    """

    def __init__(self, lane: Lane, guard: Guard) -> None:
        self.lane: Lane | None = lane
        self._guard = guard
        self._answer: QueryAnswer | None = None

    def __call__(self) -> QueryAnswer:
        """Wait for it.

        Raises:
            EngineError: the computation failed.
        """
        lane = self.lane
        if lane is not None:
            with self._guard.beside("to compute the answer"):
                lane.wait()
            self._take()
        assert self._answer is not None
        return self._answer

    def collect(self) -> None:
        """Wait for it and take it out, so that its lane can be used again."""
        if self.lane is not None:
            self.lane.wait()
            self._take()

    def _take(self) -> None:
        with self._guard.alone("to read the answer"):
            if self.lane is not None:  # no other thread was faster
                self._answer = self.lane.read()
                self.lane = None


class Pipeline:
    """Lanes for one form of support states, which stay on the GPU from query to query.

    A query takes the first free lane, so that one at a time needs but one lane.
    """

    def __init__(self, kit: Kit, calls: Sequence[Call], guard: Guard) -> None:
        """Allocate what the states need.

        Args:
            kit: what lanes are made with.
            calls: states of the form that it is made for.
            guard: of the GPU; it is held whenever a method is called.
        """
        self._kit = kit
        self._guard = guard
        self._resident = [
            {name: DeviceTensor.empty(kit.driver, t.dtype, t.shape) for name, t in call.items()}
            for call in calls
        ]
        self._loaded: Sequence[Call] | None = None
        self._lanes: list[Lane] = []
        self._pending: list[Pending] = []  # the oldest first

    def start(self, image: NDArray[np.uint8], calls: Sequence[Call], labels: bool) -> Pending:
        """Begin a query.

        Args:
            image: (H, W, 3) uint8; it is copied at once.
            calls: states of the pipeline's form. The same sequence again is not copied again.
            labels: whether the answer is one map of labels.
        """
        if self._loaded is not calls:
            self._load(calls)
        lane = self._free_lane()
        lane.start(image, labels)
        pending = Pending(lane, self._guard)
        self._pending.append(pending)
        return pending

    def close(self) -> None:
        """Take out what is pending, then free everything."""
        for pending in self._pending:
            pending.collect()
        self._pending.clear()
        while self._lanes:
            self._lanes.pop().close()
        self._resident.clear()
        self._loaded = None

    def _free_lane(self) -> Lane:
        self._pending = [pending for pending in self._pending if pending.lane is not None]
        if len(self._pending) == LANES:
            self._pending.pop(0).collect()
        busy = [pending.lane for pending in self._pending]
        for lane in self._lanes:
            if lane not in busy:
                return lane
        self._lanes.append(Lane(self._kit, self._resident))
        return self._lanes[-1]

    def _load(self, calls: Sequence[Call]) -> None:
        """Other states take the place of those that the graphs read, once nothing reads them."""
        for pending in self._pending:
            pending.collect()
        self._loaded = None
        driver = self._kit.driver
        stream = driver.stream()
        for call, resident in zip(calls, self._resident, strict=True):
            for name, tensor in call.items():
                driver.move(resident[name].address, tensor.address, tensor.bytes, stream)
        stream.synchronise()
        self._loaded = calls


def form_of(calls: Sequence[Call]) -> Form:
    """What states must agree in to share a pipeline."""
    return tuple(
        tuple((name, tensor.dtype, tensor.shape) for name, tensor in sorted(call.items()))
        for call in calls
    )
