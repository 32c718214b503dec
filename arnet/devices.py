"""Devices and number formats by name."""

from __future__ import annotations

import torch

from arnet.runtime.errors import ConfigError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """A device by its name; "auto" is a GPU where there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"there is no device '{name}'", "use auto, cpu, cuda or cuda:0") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device '{name}' was asked for, and torch sees no GPU", "use cpu")
        if device.index is None:
            device = torch.device("cuda", local_rank)
        if device.index >= torch.cuda.device_count():
            raise ConfigError(
                f"device '{device}' was asked for, and there are {torch.cuda.device_count()} GPUs",
                "they are counted from cuda:0; torchrun takes one for each process",
            )
        torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Mixed precision of a device; float32 is none."""
    enabled = precision != torch.float32
    return torch.autocast(device.type, precision if enabled else torch.bfloat16, enabled=enabled)
