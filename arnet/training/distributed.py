"""Data parallel training under ``torchrun``; one process without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed

from arnet.devices import choose_device

_PATIENCE = timedelta(days=1)
"""The first process fills the cache of features while the others wait, for hours if need be."""


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
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Process(rank, world, chosen)
    finally:
        torch.distributed.destroy_process_group()
