"""CUDA graphs, by cuda.core, on a stream of whatever library."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from arnet.runtime.device.driver import Stream
from arnet.runtime.errors import EngineError

GRAPHS = "ARNET_GRAPHS"
"""Environment variable: "off" enqueues every query anew in place of launching its graph."""

WITHOUT = "Set ARNET_GRAPHS=off to enqueue every photograph anew, which is slower."


@dataclass(frozen=True)
class CudaGraph:
    """An instantiated graph.

    Attributes:
        graph: of cuda.core.
        wrap: makes a stream of cuda.core of one of ours.
    """

    graph: Any
    wrap: Callable[[Stream], Any]

    def launch(self, stream: Stream) -> None:
        """See ``Graph.launch``."""
        self.graph.launch(self.wrap(stream))

    def close(self) -> None:
        """See ``Graph.close``."""
        self.graph.close()


def graphs_are_on() -> bool:
    """Whether queries are to become graphs."""
    return os.environ.get(GRAPHS, "on") != "off"


def cuda_core() -> Any:
    """The package cuda.core.

    Raises:
        EngineError: it cannot be used.
    """
    try:
        return import_module("cuda.core")
    except Exception as error:  # ImportError, or one of the driver's loader
        raise EngineError(
            f"CUDA graphs need cuda.core, which cannot be used ({error})",
            f"pip install cuda-bindings cuda-core. {WITHOUT}",
        ) from error


def capture(stream: Stream, work: Callable[[], None], wrap: Callable[[Stream], Any]) -> CudaGraph:
    """Capture, instantiate and upload; see ``Driver.capture``.

    Args:
        stream: what the work is put into.
        work: puts it in.
        wrap: makes a stream of cuda.core of one of ours, always the same of the same.
    """
    native = wrap(stream)
    builder = native.create_graph_builder()
    try:
        with _no_collection():
            builder.begin_building("thread_local")
            try:
                work()
            except BaseException:
                # The stream must not stay in capture. What failed is told, not what follows of it.
                with suppress(Exception):
                    builder.end_building()
                raise
            builder.end_building()
        graph = builder.complete()
        graph.upload(native)  # else the first launch would do it
    except EngineError:
        raise
    except Exception as error:  # CUDAError of the driver, RuntimeError of the builder
        raise EngineError(f"a CUDA graph could not be made ({error})", WITHOUT) from error
    finally:
        with suppress(Exception):  # after a capture that became invalid it says so once more
            builder.close()
    return CudaGraph(graph, wrap)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector: it might free memory of the GPU, which ends a capture."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
