"""Tensors in the GPU's memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.device.driver import Driver, Memory

ALIGNMENT = 256
"""Bytes that addresses of tensors are multiples of, as TensorRT needs it."""


@dataclass(frozen=True, eq=False)
class DeviceTensor:
    """A contiguous tensor on the GPU.

    Attributes:
        memory: where it is.
        dtype: NumPy's name of its type.
        shape: its sizes.
        host: the same numbers where the host has them; else None.
    """

    memory: Memory
    dtype: str
    shape: tuple[int, ...]
    host: NDArray[Any] | None = None

    @staticmethod
    def empty(driver: Driver, dtype: str, shape: Sequence[int]) -> DeviceTensor:
        """A tensor whose numbers are not set.

        Raises:
            EngineError: if there is not enough memory.
        """
        count = math.prod(shape) * np.dtype(dtype).itemsize
        return DeviceTensor(driver.allocate(count), dtype, tuple(shape))

    @property
    def address(self) -> int:
        """Where its first number is."""
        return self.memory.address

    @property
    def bytes(self) -> int:
        """The size of its numbers."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize
