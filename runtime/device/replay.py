"""Work that is enqueued once to warm up, then captured, and from then on launched as one graph."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from arnet.runtime.device.driver import Driver, Graph, Stream
from arnet.runtime.errors import EngineError


class Step(Enum):
    """How far a replay is."""

    FIXED = "its shapes and addresses are fixed"
    WARM = "it ran once and was waited for"
    CAPTURED = "it is a graph"
    CLOSED = "it was closed"


class Replay:
    """Brings work into a CUDA graph in the only order that is right.

    What works lazily - TensorRT after its shapes were set, a kernel's first launch - allocates and
    waits the first time, which a capture forbids. So: everything fixed, enqueued once without a
    capture, waited for, captured, and only then launched. Any other order is refused.

    Without graphs ``launch`` enqueues the work each time; the order is the same.

    Attributes:
        step: how far it is.
    """

    def __init__(
        self, driver: Driver, stream: Stream, enqueue: Callable[[], None], graphs: bool = True
    ) -> None:
        """Take work whose shapes and addresses will not change any more.

        Args:
            driver: of the GPU.
            stream: what ``enqueue`` puts the work into.
            enqueue: puts all of it in, the same each time; it may not wait.
            graphs: whether to capture it.
        """
        self.step = Step.FIXED
        self._driver = driver
        self._stream = stream
        self._enqueue = enqueue
        self._graph: Graph | None = None
        self._graphs = graphs

    def run(self) -> None:
        """Do the work, in whatever way its step allows; the caller need not know.

        The first time it runs uncaptured and is waited for, so that work that never comes again is
        never captured; the second time it is captured; from then on it is only launched.

        Raises:
            EngineError: if a step fails; the next call tries it again.
        """
        if self.step is Step.FIXED:
            self.warm_up()
            return
        if self.step is Step.WARM:
            self.capture()
        self.launch()

    def warm_up(self) -> None:
        """Run the work once and wait for it.

        Raises:
            EngineError: if it has run before, or fails.
        """
        self._must_be(Step.FIXED, "warmed up")
        self._enqueue()
        self._stream.synchronise()
        self.step = Step.WARM

    def capture(self) -> None:
        """Make the graph.

        Raises:
            EngineError: if it is not warm, or cannot be captured.
        """
        self._must_be(Step.WARM, "captured")
        if self._graphs:
            self._graph = self._driver.capture(self._stream, self._enqueue)
        self.step = Step.CAPTURED

    def launch(self) -> None:
        """Put the work into the stream; the host does not wait.

        Raises:
            EngineError: if it is not captured, or cannot be launched.
        """
        self._must_be(Step.CAPTURED, "launched")
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch(self._stream)

    def close(self) -> None:
        """Wait for the work, free the graph and let go of what the work uses."""
        if self.step is not Step.CLOSED:
            self.step = Step.CLOSED
            self._stream.synchronise()
            if self._graph is not None:
                self._graph.close()
            self._graph = None
            # The work's owner often owns this as well: without the circle its memory goes at once.
            self._enqueue = _nothing

    def _must_be(self, step: Step, what: str) -> None:
        if self.step is not step:
            raise EngineError(
                f"work on the GPU cannot be {what} while {self.step.value}; needed: {step.value}"
            )


def _nothing() -> None:
    """The work of what was closed."""
