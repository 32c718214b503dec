"""The logger of TensorRT, which takes one in a process: builders and runtimes share it.

Of a second one TensorRT warns, and goes on telling the first.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

_KEPT = 3
_LONGEST = 300


@cache
def logger_of(trt: Any) -> Any:
    """The logger for the package ``tensorrt``.

    A refusal tells nothing itself. Why is in ``errors``, the last few that were logged; whoever
    asks TensorRT for something clears them before.
    """

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(msg.strip()[:_LONGEST])

    return Logger()
