"""The logger of TensorRT, which takes one in a process: builders and runtimes share it.

Of a second one TensorRT warns, and goes on telling the first. A refusal tells nothing itself: why
is in what was logged.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

_LONGEST = 300
_errors: deque[str] = deque(maxlen=3)


@cache
def logger_of(trt: Any) -> Any:
    """The logger for the package ``tensorrt``; of what it is told the last few errors are kept."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                _errors.append(msg.strip()[:_LONGEST])

    return Logger()


def forget() -> None:
    """Drop what was logged: it is no reason of what TensorRT is asked for from now on."""
    _errors.clear()


def reason() -> str:
    """What was logged since, in brackets behind a blank; nothing where nothing was."""
    return f" ({'; '.join(_errors)})" if _errors else ""


def made(kind: Any, *arguments: Any) -> Any:
    """An object of a class of TensorRT, or None where the library refuses to make one.

    That is what its functions answer. Of a constructor that the library gave a null pointer the
    bindings make a TypeError.

    Raises:
        TypeError: the arguments are wrong.
    """
    try:
        return kind(*arguments)
    except TypeError as error:
        if "nullptr" not in str(error):
            raise
        return None
