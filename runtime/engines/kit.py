"""What lanes of queries are made with: the GPU, contexts of the stages, launches of our kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from arnet.kernels.catalogue import POSTPROCESS, PREPROCESS
from arnet.kernels.launch import Prepared
from arnet.runtime.bundle import Manifest
from arnet.runtime.device import Driver, Memory
from arnet.runtime.device.tensor import DeviceTensor


class Context(Protocol):
    """A stage with fixed shapes; ``FixedContext`` is one."""

    outputs: dict[str, tuple[int, ...]]

    def bind(self, addresses: Mapping[str, int], scratch: Memory) -> None:
        """Say where the tensors are, and what it computes in."""
        ...

    def freeze(self) -> None:
        """Refuse other addresses from now on."""
        ...

    def enqueue(self, stream: int) -> None:
        """Put it into a stream."""
        ...

    def release(self) -> None:
        """Give it back; it is not running."""
        ...


@dataclass(frozen=True)
class Kit:
    """What lanes are made with.

    Attributes:
        driver: of the GPU.
        manifest: of the bundle.
        context: makes a context of a stage for shapes of its inputs.
        graphs: whether queries become CUDA graphs.
        scratch: bytes that the stages compute in, one after the other.
    """

    driver: Driver
    manifest: Manifest
    context: Callable[[str, Mapping[str, tuple[int, ...]]], Context]
    graphs: bool
    scratch: int

    def preprocess(self, height: int, width: int) -> Prepared:
        """The launch that makes pixels of a photograph."""
        manifest = self.manifest
        pixels = next(t for t in manifest.stages["preprocess"].outputs if t.name == "pixels")
        colours = ("red", "green", "blue")
        means = zip(colours, manifest.preprocessing.mean, strict=True)
        deviations = zip(colours, manifest.preprocessing.std, strict=True)
        parameters = {f"mean_{colour}": value for colour, value in means}
        parameters |= {f"deviation_{colour}": value for colour, value in deviations}
        shape = (height, width, 3)
        size = manifest.image_size
        return self.driver.prepare(PREPROCESS, pixels.dtype, [shape], size=size, **parameters)

    def postprocess(self, margins: DeviceTensor, height: int, width: int) -> Prepared:
        """The launch that makes probabilities of margins."""
        shapes = [margins.shape]
        return self.driver.prepare(POSTPROCESS, margins.dtype, shapes, height=height, width=width)
