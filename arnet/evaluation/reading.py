"""What is read of images, and what is made of them, kept for as long as there is room."""

from __future__ import annotations

import contextlib
import ctypes
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arnet.devices import autocast
from arnet.inputs import InputSource
from arnet.modeling import Backbone

BUDGET = 2 * 2**30
"""Bytes of all that an evaluation keeps, most of them where the model is.

Not a number of images: one at 473² takes more than three times as much as at 257², where with the
features of a ResNet-50 it is about 8 MB in float32, 5 MB from a cache, and a pair 26 kB."""
ENTRY = 512
"""Bytes counted for what Python itself needs to keep a value, however small."""
TRIM = 256
"""Values made between two returns of freed memory to the system."""

Value = TypeVar("Value")


def return_freed_memory() -> None:
    """Return the unused pages of the heap to the system, where the C library is glibc.

    Small values that are kept lie between large tensors that came and went, and hold their memory:
    1,000 five-shot episodes grew to 16 GB.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class Recent:
    """The values asked for last, as many as fit into a number of bytes."""

    def __init__(self, most: int = BUDGET) -> None:
        self.most = most
        self.size = 0
        self._made = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made where it is not kept."""
        if key in self._values:
            self._values.move_to_end(key)
            kept: Value = self._values[key][0]
            return kept
        value = make()
        self._made += 1
        if self._made % TRIM == 0:
            return_freed_memory()
        size = ENTRY + size_of(value)
        self._values[key] = value, size
        self.size += size
        # One that is larger than all the room goes again at once.
        while self.size > self.most:
            self.size -= self._values.popitem(last=False)[1][1]
        return value


def size_of(value: object) -> int:
    """Bytes of the tensors and arrays in a value: a tuple, a plain value of several, or one.

    Raises:
        TypeError: there is something else in it, which could be of any size.
    """
    if value is None:
        return 0
    if isinstance(value, Tensor):
        return value.untyped_storage().nbytes()  # what a view keeps alive, which is all of it
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(size_of, value))
    if is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in fields(value))
    raise TypeError(f"the size of a {type(value).__name__} is not known")


class Reader:
    """Reads images through the backbone, each once as long as it is kept.

    Attributes:
        recent: keeps them, and whatever those that read here make of them: one budget for all.
    """

    def __init__(self, backbone: Backbone, source: InputSource) -> None:
        self.backbone = backbone
        self.source = source
        self.device = next(backbone.parameters()).device
        self.recent = Recent()

    def read(
        self, image_id: str, precision: torch.dtype = torch.float32
    ) -> tuple[Tensor, NDArray[np.uint8]]:
        """Features of the backbone (1, C, h, w) and the index mask (S, S), not to be changed.

        Args:
            image_id: an id of the data set.
            precision: what the backbone computes in, where it computes; each is kept apart.
        """

        def make() -> tuple[Tensor, NDArray[np.uint8]]:
            inputs, mask = self.source.read(image_id)
            inputs = inputs[None].to(self.device)
            if not self.source.features:
                with autocast(self.device, precision):
                    inputs = self.backbone(inputs)
            return inputs, mask

        computed = None if self.source.features else precision
        return self.recent.get(("read", image_id, computed), make)
