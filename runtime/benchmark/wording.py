"""Numbers and devices in words."""

from __future__ import annotations

from typing import Any

NOT_RECORDED = "not recorded"


def gpu(before: dict[str, str] | None, after: dict[str, str] | None) -> str:
    """The GPU and its state before and after."""
    if before is None:
        return NOT_RECORDED
    clock = f"{before['sm_clock_mhz']}"
    if after is not None:
        clock += f"→{after['sm_clock_mhz']}"
    return (
        f"{before['name']}, driver {before['driver']}, clock {clock} MHz, "
        f"{before['temperature_c']} °C, power limit {before['power_limit_w']} W"
    )


def gpu_during(seen: dict[str, Any] | None) -> str:
    """What was seen of the GPU meanwhile; nothing where nothing was."""
    if not seen or not seen["sm_clock_mhz"]:
        return ""
    least, median, most = seen["sm_clock_mhz"]
    return (
        f"; while measured {least:g} to {most:g} MHz, median {median:g}, at most "
        f"{seen['power_w']:.0f} W and {seen['temperature_c']} °C"
    )


def milliseconds(seconds: float) -> str:
    """Seconds in milliseconds, with three digits."""
    return three_digits(1000 * seconds)


def three_digits(value: float) -> str:
    """A number as text with the digits that mean something: 0.123, 1.23, 12.3, 123, 1234."""
    for digits, below in ((3, 1), (2, 10), (1, 100)):
        if value < below:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def size(number: int | None) -> str:
    """A number of bytes."""
    if number is None:
        return NOT_RECORDED
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def load(average: list[float] | None) -> str:
    """The load average of the last minute."""
    return NOT_RECORDED if average is None else f"{average[0]:.2f}"


def cores(used: float | None) -> str:
    """A number of cores in use."""
    return NOT_RECORDED if used is None else f"{used:.2f}"
