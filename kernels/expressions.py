"""The small language in which a kernel's launch arithmetic is written.

An expression is a text such as ``"cdiv(h*w, 4)"`` of names, whole numbers, ``+ - * //``, ``cdiv``
(division rounded up), ``min`` and ``max``. It is evaluated with Python's integers, or with the
symbolic ones of TensorRT, which do not know ``4 * x``: a bare number may not stand on the left.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

Functions = Mapping[str, Callable[[Any, Any], Any]]


def ceil_divide(dividend: int, divisor: int) -> int:
    """Quotient rounded up."""
    return -(-dividend // divisor)


INTEGERS: Functions = {"cdiv": ceil_divide, "min": min, "max": max}
"""What the functions mean for Python's integers; TensorRT has its own of the same names."""

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.FloorDiv: lambda left, right: left // right,
}


def evaluate(text: str, names: Mapping[str, Any], functions: Functions = INTEGERS) -> Any:
    """The value of an expression.

    Args:
        text: the expression.
        names: the value of each name, an integer or a symbolic one.
        functions: ``cdiv``, ``min`` and ``max`` for such values.

    Raises:
        ValueError: if it is no expression of this language, or a name has no value.
    """
    return _value(_parse(text), text, names, functions)


def names_in(text: str) -> set[str]:
    """The names that an expression needs; checks the whole of it.

    Raises:
        ValueError: if it is no expression of this language.
    """
    found: set[str] = set()

    class Recorder(dict[str, int]):
        def __missing__(self, name: str) -> int:
            found.add(name)
            return 1

    try:
        evaluate(text, Recorder())
    except ZeroDivisionError:  # with ones for all names: (a - b) below a line
        raise ValueError(f"{text!r} divides by a difference") from None
    return found


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression") from error


def _value(node: ast.expr, text: str, names: Mapping[str, Any], functions: Functions) -> Any:
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            try:
                return names[name]
            except KeyError:
                raise ValueError(f"{name!r} in {text!r} has no value") from None
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            if isinstance(left, ast.Constant):
                raise ValueError(f"{text!r} has a number on the left: write the name first")
            values = (_value(side, text, names, functions) for side in (left, right))
            return _OPERATORS[type(operator)](*values)
        case ast.Call(func=ast.Name(id=name), args=[first, second], keywords=[]):
            if name in functions:
                values = (_value(side, text, names, functions) for side in (first, second))
                return functions[name](*values)
    raise ValueError(f"{text!r} has what the language has not: + - * // cdiv min max")
