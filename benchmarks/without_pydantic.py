"""Stands in for pydantic on a machine that has none and cannot install it.

``install`` gives ``arnet.config`` and ``arnet.config_file`` the few names they import. Nothing is
checked: for configurations that pydantic has checked before, those inside checkpoints.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
import typing
from typing import Any


class TypeAdapter:
    """Builds dataclasses from plain values and back."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def validate_python(self, value: Any) -> Any:
        """Plain dictionaries and lists to the dataclass."""
        return _built(self.kind, value)

    def dump_python(self, value: Any, mode: str = "python") -> Any:
        """The dataclass to plain dictionaries and lists."""
        return _plain(value)


class ValidationError(ValueError):
    """Never raised here."""


def install() -> bool:
    """Take pydantic's place where it is missing; whether that was so."""
    if "pydantic" in sys.modules or importlib.util.find_spec("pydantic") is not None:
        return False
    stand_in: Any = types.ModuleType("pydantic")
    stand_in.ConfigDict = dict
    stand_in.Field = lambda *arguments, **limits: None
    stand_in.TypeAdapter = TypeAdapter
    stand_in.ValidationError = ValidationError
    stand_in.dataclasses = types.ModuleType("pydantic.dataclasses")
    stand_in.dataclasses.dataclass = _dataclass
    sys.modules["pydantic"] = stand_in
    sys.modules["pydantic.dataclasses"] = stand_in.dataclasses
    return True


def _dataclass(frozen: bool = False, config: Any = None) -> Any:
    return dataclasses.dataclass(frozen=frozen)


def _built(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints, make = typing.get_type_hints(kind), typing.cast(Any, kind)
        return make(**{name: _built(hints[name], part) for name, part in value.items()})
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_built(one, part) for one, part in zip(inner, value, strict=True))
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
