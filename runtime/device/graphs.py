"""CUDA graphs, by cuda.core, on a stream of whatever library."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from arnet.runtime.device.driver import Stream
from arnet.runtime.errors import EngineError

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
