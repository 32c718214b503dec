"""Data parallel training under ``torchrun``; one process without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed

from arnet.runtime.errors import ConfigError


@dataclass(frozen=True)
class Process:
    """This process among all.

    Attributes:
        rank: its number, from 0; process 0 writes the files and the log.
        world: how many there are.
        device: where it computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The part of ``count`` episodes that this process takes."""
        each = count // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()


@contextmanager
def join_processes(device: str) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started, if it did.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ConfigError: there is no such device.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if world == 1:
        yield Process(0, 1, chosen)
        return
    torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(rank, world, chosen)
    finally:
        torch.distributed.destroy_process_group()


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
