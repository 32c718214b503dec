"""Objects that stand for TensorRT's: they have what the real class has, and take what it takes."""

from __future__ import annotations

import inspect
import re
from typing import Any
from unittest import mock

CALLS: list[tuple[str, list[str]]] = []
"""What was called, "Class.method" with the arguments as text."""

LOGGERS: list[Any] = []
"""Those that were given to the library; the last is told of refusals."""


def complain(text: str) -> None:
    """Log an error as the library would."""
    LOGGERS[-1].log(LOGGERS[-1].Severity.ERROR, text)


def stand_in(kind: type, refused: dict[str, Any], **answers: Any) -> Any:
    """An object with the names of a real class.

    Args:
        kind: the class.
        refused: what "Class.method" answers instead, for tests of the errors.
        answers: of methods; a function is called with the arguments.
    """
    made = mock.MagicMock(spec_set=kind)
    for name, answer in answers.items():

        def call(*arguments: Any, name: str = name, answer: Any = answer) -> Any:
            known = signatures(getattr(kind, name).__doc__)
            fits = any(least <= len(arguments) <= most for least, most in known)
            assert fits, f"{kind.__name__}.{name} takes {known} arguments, not {arguments}"
            place = f"{kind.__name__}.{name}"
            CALLS.append((place, list(map(str, arguments))))
            if place in refused:
                complain(f"{place} will not")
                return refused[place]
            return answer(*arguments) if inspect.isfunction(answer) else answer

        getattr(made, name).side_effect = call
    return made


def signatures(text: str) -> list[tuple[int, int]]:
    """Least and most arguments of each overload, by what the bindings say of a method."""
    found = []
    for line in re.sub(r"<[^<>]*>", "default", text).splitlines():
        match = re.match(r"\s*(?:\d+\. )?\w+\(self: [\w.]+(?:, (.*))?\) -> ", line)
        if match:
            count = len(re.findall(r"\w+: ", match[1] or ""))
            found.append((count - (match[1] or "").count(" = "), count))
    return found
