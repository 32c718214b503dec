"""The real bindings as the package ``tensorrt``, in a process that ``fetch_bindings.run`` started.

What would be made by the library is replaced: symbolic numbers, which here are numbers, and the
registry of plugins. All else is the real thing.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any


class Number:
    """Stands for IDimensionExpr: an unknown number, whose value is recorded all the same."""

    def __init__(self, value: int, constant: bool = True) -> None:
        self.value, self.constant = value, constant

    def is_constant(self) -> bool:
        return self.constant

    def get_constant_value(self) -> int:
        assert self.constant, "the value of a number that is not constant was asked for"
        return self.value

    def is_size_tensor(self) -> bool:
        return False


class Builder:
    """Stands for IExprBuilder."""

    def __init__(self, operations: Any) -> None:
        self.functions = {
            operations.SUM: lambda a, b: a + b,
            operations.PROD: lambda a, b: a * b,
            operations.SUB: lambda a, b: a - b,
            operations.MAX: max,
            operations.MIN: min,
            operations.FLOOR_DIV: lambda a, b: a // b,
            operations.CEIL_DIV: lambda a, b: -(-a // b),
        }

    def constant(self, value: int) -> Number:
        assert type(value) is int, f"{value!r} is no int"
        return Number(value)

    def operation(self, operation: Any, first: Number, second: Number) -> Number:
        value = self.functions[operation](first.value, second.value)
        assert value >= 0, f"{operation} gives {value}: these are sizes, also on the way to others"
        return Number(value, first.constant and second.constant)


class Numbers(list[Any]):
    """Stands for DimsExprs."""

    def __init__(self, count: int) -> None:
        super().__init__([None] * count)


class Expression:
    """Stands for ISymExpr."""


class Registry:
    """Stands for the registry of plugins."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str = "") -> bool:
        self.creators[creator.name, creator.plugin_version, namespace] = creator
        return True

    def get_creator(self, name: str, version: str, namespace: str = "") -> Any:
        return self.creators.get((name, version, namespace))


def load() -> Any:
    """The package ``tensorrt`` of the version that this process is for."""
    bindings = importlib.import_module("tensorrt_bindings")
    package = types.ModuleType("tensorrt")
    for name in dir(bindings):
        if not name.startswith("__"):
            setattr(package, name, getattr(bindings, name))
    package.__version__ = bindings.__version__
    package.__path__ = []
    registry = Registry()
    package.IDimensionExpr = Number
    package.ISymExpr = Expression
    package.DimsExprs = Numbers
    package.get_plugin_registry = lambda: registry
    sys.modules["tensorrt"] = package
    sys.modules["tensorrt.tensorrt"] = getattr(bindings, "tensorrt", bindings)
    plugin = importlib.import_module("tensorrt_bindings.plugin")
    sys.modules["tensorrt.plugin"] = package.plugin = plugin
    return package
