"""The machine a measurement was made on, and what else it was doing meanwhile."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from arnet.runtime.benchmark.gpu import describe_gpu
from arnet.version import __version__

PACKAGES = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "torch": ("torch",),
}
"""What computes, and the names of the distributions that bring it."""


def describe_environment() -> dict[str, Any]:
    """The machine and the software; what cannot be found out is None.

    Returns:
        Plain values: "cpu", "cores" (those this process may use), "governor", "load_average" (1,
        5 and 15 minutes), "memory_bytes", "os", "python", "packages", "gpu".
    """
    return {
        "arnet": __version__,
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load_average": load_average(),
        "memory_bytes": _memory(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(names) for name, names in PACKAGES.items()},
        "gpu": describe_gpu(),
    }


def cpu_model(cpuinfo: str = "/proc/cpuinfo") -> str | None:
    """What the processor calls itself."""
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or None


def usable_cores() -> int:
    """Cores that this process may run on, which can be fewer than the machine has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> list[float] | None:
    """Processes that wanted to run, averaged over 1, 5 and 15 minutes."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (AttributeError, OSError):
        return None


@dataclass(frozen=True)
class ProcessorTimes:
    """A reading of the clocks of the processors, in seconds since some start.

    Attributes:
        wall: time that has passed.
        busy: all cores together, whatever process they worked for; None where it is not told.
        stolen: time in which the host of a virtual machine ran something else.
        own: this process and those it has waited for.
    """

    wall: float
    busy: float | None
    stolen: float | None
    own: float

    @staticmethod
    def now(stat: str = "/proc/stat") -> ProcessorTimes:
        """Read the clocks."""
        busy = stolen = None
        words = (_first_line(Path(stat)) or "").split()
        # cpu user nice system idle iowait irq softirq steal guest guest_nice, in ticks; the two
        # of guests are in user and nice already.
        if words[:1] == ["cpu"] and len(words) >= 9:
            tick = os.sysconf("SC_CLK_TCK")
            user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words[1:9])
            busy = (user + nice + system + irq + softirq) / tick
            stolen = steal / tick
        own = os.times()
        return ProcessorTimes(time.perf_counter(), busy, stolen, sum(own[:4]))

    def cores_since(self, earlier: ProcessorTimes) -> dict[str, float | None]:
        """Cores in use on average between two readings.

        Returns:
            "own", by this process; "others", by all else; "stolen", by other virtual machines.
            1.0 is one core all the time; None where it is not told.
        """
        wall = max(self.wall - earlier.wall, 1e-9)
        own = (self.own - earlier.own) / wall
        others = stolen = None
        if self.busy is not None and earlier.busy is not None:
            # The two clocks tick apart, so that nothing can come out a little less than nothing.
            others = round(max((self.busy - earlier.busy) / wall - own, 0.0), 3)
        if self.stolen is not None and earlier.stolen is not None:
            stolen = round((self.stolen - earlier.stolen) / wall, 3)
        return {"own": round(own, 3), "others": others, "stolen": stolen}


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _first_line(path: Path) -> str | None:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.readline().strip() or None
    except OSError:
        return None
