"""The state of the first NVIDIA GPU, as the driver's own tool tells it."""

from __future__ import annotations

import subprocess

FIELDS = {
    "name": "name",
    "compute_capability": "compute_cap",
    "driver": "driver_version",
    "memory_mib": "memory.total",
    "power_limit_w": "power.limit",
    "sm_clock_mhz": "clocks.sm",
    "largest_sm_clock_mhz": "clocks.max.sm",
    "temperature_c": "temperature.gpu",
    "throttle_reasons": "clocks_throttle_reasons.active",
    "persistence": "persistence_mode",
}
"""Our name of each field and nvidia-smi's."""

IDLE = 0x1
"""The reason for a low clock that is no reason to worry: nothing to do."""


def describe_gpu(command: str = "nvidia-smi") -> dict[str, str] | None:
    """Name, driver, clock, temperature and the like; None ("not recorded") without a driver.

    Args:
        command: nvidia-smi, which asks NVML, the driver's library.
    """
    query = f"--query-gpu={','.join(FIELDS.values())}"
    try:
        finished = subprocess.run(
            [command, query, "--format=csv,noheader,nounits", "--id=0"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = [value.strip() for value in finished.stdout.strip().split(",")]
    if finished.returncode != 0 or len(values) != len(FIELDS):
        return None
    return dict(zip(FIELDS, values, strict=True))


def throttled(gpu: dict[str, str] | None) -> bool:
    """Whether the GPU says that it holds its clock back, for heat, power or another reason."""
    try:
        return bool(int((gpu or {}).get("throttle_reasons", "0"), 16) & ~IDLE)
    except ValueError:  # "[N/A]"
        return False
