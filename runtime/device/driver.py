"""What the runtime needs of a GPU's driver, whatever library calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.launch import Prepared
from arnet.kernels.spec import KernelSpec


class Memory(Protocol):
    """Memory on the GPU, given back when nothing refers to it any more.

    Attributes:
        address: on the GPU; a multiple of 256.
        bytes: its size.
    """

    @property
    def address(self) -> int:
        """See above."""
        ...

    @property
    def bytes(self) -> int:
        """See above."""
        ...


class Pinned(Protocol):
    """Memory of the host that the GPU reads and writes by itself (page-locked).

    Attributes:
        array: uint8, one dimension; valid as long as this object.
    """

    @property
    def array(self) -> NDArray[np.uint8]:
        """See above."""
        ...


class Event(Protocol):
    """A point in a stream's work."""

    def synchronise(self) -> None:
        """Wait until the GPU has reached what was last recorded; at once if nothing was."""
        ...


class Stream(Protocol):
    """Work that the GPU does in the order in which it was put in; never the default stream.

    Attributes:
        handle: the ``cudaStream_t``, for other libraries.
        native: the object of the library that launches kernels.
    """

    @property
    def handle(self) -> int:
        """See above."""
        ...

    @property
    def native(self) -> Any:
        """See above."""
        ...

    def record(self, event: Event) -> None:
        """Let an event stand for all that was put in so far."""
        ...

    def wait(self, event: Event) -> None:
        """Do what is put in from now on only after an event; the host does not wait."""
        ...

    def synchronise(self) -> None:
        """Wait until everything is done."""
        ...


class Graph(Protocol):
    """Captured work, ready to be launched as one."""

    def launch(self, stream: Stream) -> None:
        """Do it once more, in a stream's order."""
        ...

    def close(self) -> None:
        """Free it. It must not be running."""
        ...


class Driver(Protocol):
    """One GPU. Everything it makes is made and used inside ``current``.

    Attributes:
        library: what calls the driver, with its version.
        gpu: name of the GPU.
        capability: its compute capability, such as (9, 0).
    """

    @property
    def library(self) -> str:
        """See above."""
        ...

    @property
    def gpu(self) -> str:
        """See above."""
        ...

    @property
    def capability(self) -> tuple[int, int]:
        """See above."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU's primary context the one of this thread, for a block; may be nested."""
        ...

    def stream(self) -> Stream:
        """A new stream that does not wait for the default stream."""
        ...

    def event(self, timed: bool = False) -> Event:
        """A new event; only ``timed`` ones can be compared with ``milliseconds``."""
        ...

    def milliseconds(self, start: Event, end: Event) -> float:
        """What lies between two recorded events that the GPU has reached."""
        ...

    def allocate(self, count: int) -> Memory:
        """Bytes on the GPU. The GPU may have to finish its work first.

        Raises:
            EngineError: if there is not enough.
        """
        ...

    def pinned(self, count: int) -> Pinned:
        """Bytes of page-locked memory of the host.

        Raises:
            EngineError: if there is not enough.
        """
        ...

    def upload(self, target: Memory, source: NDArray[Any], stream: Stream) -> None:
        """Copy an array to the GPU, in a stream's order.

        Args:
            target: as large as the array or larger.
            source: contiguous. Unless it is pinned, the host may wait; pinned or not, it must stay
                as it is until the stream has done it.
            stream: that the copy is put into.
        """
        ...

    def download(self, target: NDArray[Any], source: Memory, stream: Stream) -> None:
        """Copy to a contiguous array of the host; see ``upload``."""
        ...

    def move(self, target: int, source: int, count: int, stream: Stream) -> None:
        """Copy bytes from one address on the GPU to another, in a stream's order."""
        ...

    def prepare(
        self, spec: KernelSpec, variant: str, shapes: Sequence[Sequence[int]], **parameters: float
    ) -> Prepared:
        """A launch of one of our kernels; it is called with ``stream.native``.

        Raises:
            KernelError: see ``arnet.kernels.launch``.
        """
        ...

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Capture what ``work`` puts into a stream, instead of doing it.

        The mode is thread-local: other threads may go on using the GPU meanwhile.

        Raises:
            EngineError: if it cannot be captured, or there are no graphs.
        """
        ...
