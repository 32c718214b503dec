"""A GPU driven by cuda.core: context, streams, events, graphs; memory by cuda.bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.launch import CudaCoreLauncher, Prepared
from arnet.kernels.spec import KernelSpec
from arnet.runtime.device.driver import Event, Graph, Memory, Pinned, Stream
from arnet.runtime.device.graphs import capture
from arnet.runtime.errors import EngineError

_PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE: page-locked for every context


class CudaCoreDriver:
    """See ``Driver``.

    Raises:
        KernelError: if cuda.core or the GPU is not there.
    """

    def __init__(self, device: int = 0) -> None:
        self._launcher = CudaCoreLauncher(device)
        core = import_module("cuda.core")
        self._device = core.Device(device)
        self._driver = import_module("cuda.bindings.driver")
        self._event_options = core.EventOptions
        self.library = f"cuda.core {core.__version__}"
        self.gpu = str(self._device.name)
        self.capability = self._launcher.capability

    @contextmanager
    def current(self) -> Iterator[None]:
        """See ``Driver.current``; it stays current, as the runtime API would have it."""
        self._device.set_current()
        yield

    def stream(self) -> Stream:
        """See ``Driver.stream``."""
        return _Stream(self._device.create_stream())  # non-blocking is its default

    def event(self, timed: bool = False) -> Event:
        """See ``Driver.event``."""
        options = self._event_options(**_timing(self._event_options, timed))
        return _Event(self._device.create_event(options))

    def milliseconds(self, start: Event, end: Event) -> float:
        """See ``Driver.milliseconds``."""
        return float(cast(_Event, end).native - cast(_Event, start).native)

    def allocate(self, count: int) -> Memory:
        """See ``Driver.allocate``; plain ``cuMemAlloc``, whose freeing waits for the GPU."""
        what = f"{count} bytes on the GPU"
        return _Memory(self, int(self._ok(self._driver.cuMemAlloc(max(count, 1)), what)), count)

    def pinned(self, count: int) -> Pinned:
        """See ``Driver.pinned``."""
        allocated = self._driver.cuMemHostAlloc(max(count, 1), _PORTABLE)
        return _Pinned(self, int(self._ok(allocated, f"{count} bytes of pinned memory")), count)

    def upload(self, target: Memory, source: NDArray[Any], stream: Stream) -> None:
        """See ``Driver.upload``."""
        self.move(target.address, source.ctypes.data, source.nbytes, stream)

    def download(self, target: NDArray[Any], source: Memory, stream: Stream) -> None:
        """See ``Driver.download``."""
        self.move(target.ctypes.data, source.address, target.nbytes, stream)

    def move(self, target: int, source: int, count: int, stream: Stream) -> None:
        """See ``Driver.move``; the driver tells the host's addresses from the GPU's."""
        handle = cast(_Stream, stream).native.handle
        self._ok(self._driver.cuMemcpyAsync(target, source, count, handle), "a copy")

    def prepare(
        self, spec: KernelSpec, variant: str, shapes: Sequence[Sequence[int]], **parameters: float
    ) -> Prepared:
        """See ``Driver.prepare``."""
        return self._launcher.prepare(spec, variant, shapes, **parameters)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """See ``Driver.capture``."""
        return capture(stream, work, lambda one: one.native)

    def free(self, function: str, address: int) -> None:
        """Give memory back; never raises, as Python may be ending."""
        with suppress(Exception), self.current():
            getattr(self._driver, function)(address)

    def _ok(self, result: tuple[Any, ...], what: str) -> Any:
        """The value of a call of the driver."""
        status, *values = result
        if int(status):
            raise EngineError(
                f"the GPU's driver refuses {what} ({status.name})",
                "Close what else uses the GPU (nvidia-smi shows it), or take smaller photographs.",
            )
        return values[0] if values else None


@dataclass(frozen=True)
class _Stream:
    native: Any

    @property
    def handle(self) -> int:
        return int(self.native.handle)

    def record(self, event: Event) -> None:
        self.native.record(cast(_Event, event).native)

    def wait(self, event: Event) -> None:
        self.native.wait(cast(_Event, event).native)

    def synchronise(self) -> None:
        self.native.sync()


@dataclass(frozen=True)
class _Event:
    native: Any

    def synchronise(self) -> None:
        self.native.sync()


@dataclass(frozen=True, eq=False)
class _Memory:
    driver: CudaCoreDriver
    address: int
    bytes: int

    def __del__(self) -> None:
        self.driver.free("cuMemFree", self.address)


@dataclass(frozen=True, eq=False)
class _Pinned:
    driver: CudaCoreDriver
    address: int
    bytes: int

    @property
    def array(self) -> NDArray[np.uint8]:
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.bytes).from_address(self.address))

    def __del__(self) -> None:
        self.driver.free("cuMemFreeHost", self.address)


def _timing(options: Any, timed: bool) -> dict[str, bool]:
    """The option as cuda.core 1 calls it, or as it was called before."""
    names = getattr(options, "__dataclass_fields__", {})
    return {"timing_enabled" if "timing_enabled" in names else "enable_timing": timed}
