"""A GPU driven by pycuda: the primary context, streams, events, memory, launches.

pycuda has no graphs. They are captured by cuda.core on pycuda's streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.launch import Prepared, PycudaLauncher
from arnet.kernels.spec import KernelSpec
from arnet.runtime.device.driver import Event, Graph, Memory, Pinned, Stream
from arnet.runtime.device.graphs import capture, cuda_core
from arnet.runtime.errors import EngineError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class PycudaDriver:
    """See ``Driver``.

    Raises:
        EngineError: if pycuda or the GPU is not there.
        KernelError: likewise, found by the launcher.
    """

    def __init__(self, device: int = 0) -> None:
        try:
            self._cuda = import_module("pycuda.driver")
            self._cuda.init()
            found = self._cuda.Device(device)
            self._context = _primary_context(device)
        except Exception as error:  # ImportError, or pycuda's own errors
            raise EngineError(
                f"pycuda cannot be used ({error})",
                "pip install pycuda, and check with nvidia-smi that there is a GPU.",
            ) from error
        self.library = f"pycuda {import_module('pycuda').VERSION_TEXT}"
        self.gpu = str(found.name())
        self.capability: tuple[int, int] = tuple(found.compute_capability())
        with self.current():
            self._launcher = PycudaLauncher()

    @contextmanager
    def current(self) -> Iterator[None]:
        """See ``Driver.current``."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def stream(self) -> Stream:
        """See ``Driver.stream``."""
        return _Stream(self._cuda.Stream(_NON_BLOCKING))

    def event(self, timed: bool = False) -> Event:
        """See ``Driver.event``."""
        flags = self._cuda.event_flags
        return _Event(self._cuda.Event(flags.DEFAULT if timed else flags.DISABLE_TIMING))

    def milliseconds(self, start: Event, end: Event) -> float:
        """See ``Driver.milliseconds``."""
        return float(cast(_Event, end).native.time_since(cast(_Event, start).native))

    def allocate(self, count: int) -> Memory:
        """See ``Driver.allocate``."""
        allocation = self._made(lambda: self._cuda.mem_alloc(max(count, 1)), f"{count} bytes")
        return _Memory(self, allocation, count)

    def pinned(self, count: int) -> Pinned:
        """See ``Driver.pinned``."""
        portable = self._cuda.host_alloc_flags.PORTABLE
        array = self._made(
            lambda: self._cuda.pagelocked_empty(max(count, 1), np.uint8, mem_flags=portable),
            f"{count} bytes of pinned memory",
        )
        return _Pinned(self, array, count)

    def upload(self, target: Memory, source: NDArray[Any], stream: Stream) -> None:
        """See ``Driver.upload``."""
        self._cuda.memcpy_htod_async(target.address, source, stream.native)

    def download(self, target: NDArray[Any], source: Memory, stream: Stream) -> None:
        """See ``Driver.download``."""
        self._cuda.memcpy_dtoh_async(target, source.address, stream.native)

    def move(self, target: int, source: int, count: int, stream: Stream) -> None:
        """See ``Driver.move``."""
        self._cuda.memcpy_dtod_async(target, source, count, stream.native)

    def prepare(
        self, spec: KernelSpec, variant: str, shapes: Sequence[Sequence[int]], **parameters: float
    ) -> Prepared:
        """See ``Driver.prepare``."""
        return self._launcher.prepare(spec, variant, shapes, **parameters)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """See ``Driver.capture``."""
        return capture(stream, work, cast(_Stream, stream).for_cuda_core(cuda_core().Stream))

    def free(self, release: Callable[[], None]) -> None:
        """Give memory back; never raises, as Python may be ending."""
        with suppress(Exception), self.current():
            release()

    def _made(self, make: Callable[[], Any], what: str) -> Any:
        try:
            return make()
        except self._cuda.Error as error:
            raise EngineError(
                f"the GPU's driver refuses {what} ({error})",
                "Close what else uses the GPU (nvidia-smi shows it), or take smaller photographs.",
            ) from error


@cache
def _primary_context(device: int) -> Any:
    """Not pycuda.autoinit's, a context of its own that nobody else shares.

    One object for all: pycuda frees what was made in a context only in that very one.
    """
    return import_module("pycuda.driver").Device(device).retain_primary_context()


@dataclass(frozen=True)
class _Stream:
    native: Any

    @property
    def handle(self) -> int:
        return int(self.native.handle)

    def for_cuda_core(self, kind: Any) -> Callable[[Stream], Any]:
        """Makes streams of cuda.core; that of this one only once, as graphs are launched often."""
        own = kind.from_handle(self.handle)
        return lambda stream: own if stream is self else kind.from_handle(stream.handle)

    def record(self, event: Event) -> None:
        cast(_Event, event).native.record(self.native)

    def wait(self, event: Event) -> None:
        self.native.wait_for_event(cast(_Event, event).native)

    def synchronise(self) -> None:
        self.native.synchronize()


@dataclass(frozen=True)
class _Event:
    native: Any

    def synchronise(self) -> None:
        self.native.synchronize()


@dataclass(frozen=True, eq=False)
class _Memory:
    driver: PycudaDriver
    allocation: Any
    bytes: int

    @property
    def address(self) -> int:
        return int(self.allocation)

    def __del__(self) -> None:
        self.driver.free(self.allocation.free)


@dataclass(frozen=True, eq=False)
class _Pinned:
    driver: PycudaDriver
    whole: Any
    bytes: int

    @property
    def array(self) -> NDArray[np.uint8]:
        array: NDArray[np.uint8] = self.whole[: self.bytes]
        return array

    def __del__(self) -> None:
        self.driver.free(self.whole.base.free)
