"""The engines that run a bundle, as data; each one is imported when it is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from arnet.runtime.bundle import Bundle
from arnet.runtime.engines.engine import Engine, QueryAnswer, QueryEngine, Value
from arnet.runtime.errors import AbsentEngineError, EngineError

__all__ = [
    "AUTO",
    "ENGINES",
    "Engine",
    "EngineEntry",
    "QueryAnswer",
    "QueryEngine",
    "Refused",
    "Value",
    "open_engine",
]

AUTO = "auto"
"""The engine name that stands for the fastest one that works here."""


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine is.

    Attributes:
        module: the module to import.
        function: in it, ``(bundle, threads) -> Engine``; it raises EngineError where the engine is
            not installed, finds no device or would compute elsewhere.
    """

    module: str
    function: str

    def open(self, bundle: Bundle, threads: int | None) -> Engine:
        """Import and open it."""
        engine: Engine = getattr(importlib.import_module(self.module), self.function)(
            bundle, threads
        )
        return engine


ENGINES: dict[str, EngineEntry] = {
    "tensorrt": EngineEntry("arnet.runtime.engines.tensorrt", "open_tensorrt"),
    "onnx-cuda": EngineEntry("arnet.runtime.engines.onnx", "open_cuda"),
    "onnx": EngineEntry("arnet.runtime.engines.onnx", "open_cpu"),
}
"""By name, the fastest first."""


Refused: TypeAlias = Callable[[str, EngineError], None]
"""Is told the name of an engine that is installed and does not work here, and why."""


def open_engine(
    bundle: Bundle,
    engine: str = AUTO,
    threads: int | None = None,
    refused: Refused | None = None,
) -> Engine:
    """Open a bundle with an engine.

    Args:
        bundle: what to run.
        engine: a key of ``ENGINES``, or "auto" for the first of them that works. An engine that is
            asked for by name is never replaced by another.
        threads: processor threads of one computation; None for what the engine takes.
        refused: with "auto" is told of each engine that is passed over though it is installed;
            None for no one.

    Raises:
        EngineError: if there is no such engine, or it (with "auto": none) works here.
        BundleError: if the engine cannot read the bundle's stages.
    """
    if threads is not None and threads < 1:
        raise EngineError(f"{threads} threads were asked for", "Give 1 or more.")
    if engine != AUTO:
        if engine not in ENGINES:
            raise EngineError(
                f"there is no engine '{engine}'", f"Known: {', '.join((AUTO, *ENGINES))}."
            )
        return ENGINES[engine].open(bundle, threads)
    refusals = []
    for name, entry in ENGINES.items():
        try:
            return entry.open(bundle, threads)
        except EngineError as error:
            refusals.append(error)
            if refused is not None and not isinstance(error, AbsentEngineError):
                refused(name, error)
    raise EngineError(
        "no engine works here: " + "; ".join(error.message for error in refusals),
        refusals[-1].hint,
    )
