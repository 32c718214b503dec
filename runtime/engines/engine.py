"""What an engine is: it runs the stages of a bundle on some device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.bundle import Stage
from arnet.runtime.errors import EngineError

Value: TypeAlias = Any
"""A tensor where the engine computes; only the engine that made it knows what it is."""

Signature: TypeAlias = tuple[str, tuple[int, ...]]
"""Element type (NumPy's name) and shape of a tensor."""


class Engine(Protocol):
    """Runs the stages of a bundle. Stages hand each other values that stay on the device.

    All methods may be called from several threads at once, ``close`` excepted.
    """

    def upload(self, array: NDArray[Any]) -> Value:
        """Bring an array to the device. It may be shared: do not change it while the value lives.

        Raises:
            EngineError: if the device refuses, for lack of memory.
        """
        ...

    def download(self, value: Value) -> NDArray[np.generic]:
        """Bring a value back. The array may share its memory: do not change it."""
        ...

    def run(self, stage: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """Run one stage.

        Args:
            stage: its name in the manifest.
            feeds: exactly its inputs, by name.

        Returns:
            All its outputs, by name.

        Raises:
            EngineError: if there is no such stage, a feed is missing, unknown or of another type or
                shape than the manifest says, or the computation fails.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Engine, version and device, for results.json."""
        ...

    def close(self) -> None:
        """Free what it holds. Nothing can be run afterwards."""
        ...


@dataclass(frozen=True)
class QueryAnswer:
    """What an engine found in a photograph.

    Attributes:
        maps: "margins" and, where the bundle has it, "first", a probability map (H, W) float32 of
            each class, and "supports", one (h, w) of each shot; or "labels", one map (H, W) uint8.
        device: seconds that the device took, by its own clock: of the "query", copies to and from
            it included, or of each part where these are not one graph.
    """

    maps: dict[str, list[NDArray[Any]]]
    device: Mapping[str, float]


@runtime_checkable
class QueryEngine(Engine, Protocol):
    """An engine that also runs a whole query, and begins the next before the last is done."""

    def start(
        self,
        image: NDArray[np.uint8],
        calls: Sequence[Mapping[str, Value]],
        labels: bool = False,
    ) -> Callable[[], QueryAnswer]:
        """Begin to look for the classes of some states in a photograph.

        Args:
            image: (H, W, 3) uint8; it is copied at once.
            calls: for each call of ``decode`` what it takes of the states, on the device. The same
                sequence again costs nothing.
            labels: ask for the map of labels alone.

        Returns:
            What waits for the answer and returns it.

        Raises:
            EngineError: the computation cannot be begun. What is returned raises it, too.
        """
        ...


def check_feeds(name: str, stage: Stage, found: Mapping[str, Signature]) -> None:
    """Compare what a stage is fed with what the manifest says it takes.

    Args:
        name: of the stage.
        stage: its interface.
        found: what is fed.

    Raises:
        EngineError: naming the stage, the tensor, what was found and what is needed.
    """
    needed = {tensor.name: tensor for tensor in stage.inputs}
    if found.keys() != needed.keys():
        fed = ", ".join(found) or "nothing"
        raise EngineError(f"the stage '{name}' takes {', '.join(needed)}; it was fed {fed}")
    sizes: dict[str, int] = {}
    for key, (dtype, shape) in found.items():
        tensor = needed[key]
        fits = dtype == tensor.dtype and len(shape) == len(tensor.shape)
        # Equal names of dynamic dimensions mean equal sizes, also across the inputs.
        if not fits or any(
            size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
            for size, wanted in zip(shape, tensor.shape, strict=True)
        ):
            known = [
                sizes.get(size, size) if isinstance(size, str) else size for size in tensor.shape
            ]
            raise EngineError(
                f"the stage '{name}' was fed {key} as {dtype} ({', '.join(map(str, shape))}); it"
                f" needs {tensor.dtype} ({', '.join(map(str, known))})"
            )
