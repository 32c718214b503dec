"""What a GPU does while it is measured: its clock, its temperature and why it holds back.

NVML, the driver's library, is called directly: no package has to be installed. Nothing is set.
"""

from __future__ import annotations

import ctypes
import statistics
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
_SM_CLOCK = 1
_GPU_TEMPERATURE = 0

REASONS = {
    0x2: "clocks set by an application",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "synchronised boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}
"""Why a clock is lower than it could be, by NVML's bit; 0x1 is that there is nothing to do."""


@dataclass(frozen=True)
class Reading:
    """One look at a GPU; what it does not tell is None.

    Attributes:
        clock: of the multiprocessors, in MHz.
        temperature: in degrees Celsius.
        power: in watts.
        reasons: NVML's bits.
    """

    clock: int | None
    temperature: int | None
    power: float | None
    reasons: int


class Nvml:
    """The first GPU, as NVML tells it.

    Raises:
        OSError: there is no such library, or it finds no GPU.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = ctypes.CDLL(library)
        self._device = ctypes.c_void_p()
        if self._library.nvmlInit_v2() or self._library.nvmlDeviceGetHandleByIndex_v2(
            0, ctypes.byref(self._device)
        ):
            raise OSError(f"{library} finds no GPU")

    def read(self) -> Reading:
        """Look."""
        power = self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint())  # milliwatts
        reasons = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        return Reading(
            self._number("nvmlDeviceGetClockInfo", ctypes.c_uint(), _SM_CLOCK),
            self._number("nvmlDeviceGetTemperature", ctypes.c_uint(), _GPU_TEMPERATURE),
            None if power is None else power / 1000,
            reasons or 0,
        )

    def _number(self, function: str, value: Any, *arguments: int) -> int | None:
        called = getattr(self._library, function, None)
        if called is None or called(self._device, *arguments, ctypes.byref(value)):
            return None
        return int(value.value)


@dataclass
class Watch:
    """Looks at the GPU every now and then while something runs; without one it does nothing.

        with Watch() as watch:
            ...
        watch.summary()

    Attributes:
        interval: seconds between two looks.
        library: of NVML.
        readings: what was seen.
    """

    interval: float = 0.05
    library: str = LIBRARY
    readings: list[Reading] = field(default_factory=list)

    def __enter__(self) -> Watch:
        """Start to look."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            nvml = Nvml(self.library)
        except (OSError, AttributeError):
            return self
        self._thread = threading.Thread(target=self._look, args=(nvml,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def summary(self) -> dict[str, Any] | None:
        """Plain values: "samples", "sm_clock_mhz" (least, median, most), "temperature_c" and
        "power_w" (most), "held_back" (the reasons, each with its share of the samples); None if
        nothing was seen.
        """  # noqa: D205
        if not self.readings:
            return None
        clocks = [one.clock for one in self.readings if one.clock is not None]
        shares = {
            text: sum(bool(one.reasons & bit) for one in self.readings) / len(self.readings)
            for bit, text in REASONS.items()
        }
        return {
            "samples": len(self.readings),
            "sm_clock_mhz": [min(clocks), statistics.median(clocks), max(clocks)]
            if clocks
            else None,
            "temperature_c": max((one.temperature or 0 for one in self.readings), default=None),
            "power_w": max((one.power or 0.0 for one in self.readings), default=None),
            "held_back": {text: round(share, 3) for text, share in shares.items() if share},
        }

    def _look(self, nvml: Nvml) -> None:
        while True:
            self.readings.append(nvml.read())
            if self._over.wait(self.interval):
                return
