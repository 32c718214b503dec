"""Work that is enqueued once to warm up, then captured, and from then on launched as one graph."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from arnet.runtime.device.driver import Driver, Graph, Stream
from arnet.runtime.errors import EngineError


class Phase(Enum):
    """How far captured work is."""

    FIXED = "its shapes and addresses are fixed"
    WARM = "it ran once and was waited for"
    CAPTURED = "it is a graph"
    CLOSED = "it was closed"


class CapturedWork:
    """Brings work into a CUDA graph in the only order that is right.

    What works lazily - TensorRT after its shapes were set, a kernel's first launch - allocates and
    waits the first time, which a capture forbids. So: everything fixed, enqueued once without a
    capture, waited for, captured, and only then launched. Any other order is refused.

    Without graphs ``launch`` enqueues the work each time; the order is the same.

    Attributes:
        phase: how far it is.
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
        self.phase = Phase.FIXED
        self._driver = driver
        self._stream = stream
        self._enqueue = enqueue
        self._graph: Graph | None = None
        self._graphs = graphs

    def run(self) -> None:
        """Do the work, in whatever way its phase allows; the caller need not know.

        The first time it runs uncaptured and is waited for, so that work that never comes again is
        never captured; the second time it is captured; from then on it is only launched.

        Raises:
            EngineError: if a step fails; the next call tries it again.
        """
        if self.phase is Phase.FIXED:
            self.warm_up()
            return
        if self.phase is Phase.WARM:
            self.capture()
        self.launch()

    def warm_up(self) -> None:
        """Run the work once and wait for it.

        Raises:
            EngineError: if it has run before, or fails.
        """
        self._must_be(Phase.FIXED, "warmed up")
        self._enqueue()
        self._stream.synchronise()
        self.phase = Phase.WARM

    def capture(self) -> None:
        """Make the graph.

        Raises:
            EngineError: if it is not warm, or cannot be captured.
        """
        self._must_be(Phase.WARM, "captured")
        if self._graphs:
            self._graph = self._driver.capture(self._stream, self._enqueue)
        self.phase = Phase.CAPTURED

    def launch(self) -> None:
        """Put the work into the stream; the host does not wait.

        Raises:
            EngineError: if it is not captured, or cannot be launched.
        """
        self._must_be(Phase.CAPTURED, "launched")
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch(self._stream)

    def close(self) -> None:
        """Wait for the work, free the graph and let go of what the work uses."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._stream.synchronise()
            if self._graph is not None:
                self._graph.close()
            self._graph = None
            # The work's owner often owns this as well: without the circle its memory goes at once.
            self._enqueue = _nothing

    def _must_be(self, phase: Phase, what: str) -> None:
        if self.phase is not phase:
            raise EngineError(
                f"work on the GPU cannot be {what} while {self.phase.value}; needed: {phase.value}"
            )


def _nothing() -> None:
    """The work of what was closed."""
