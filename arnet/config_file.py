"""Configurations from YAML files, overrides and dictionaries, with errors a person can mend."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from arnet.config import Config, MemberConfig, StageConfig
from arnet.runtime.errors import ConfigError

_LISTED = {"members": MemberConfig, "stages": StageConfig}
"""Sections of which a key takes several."""


_RANGES = {
    "shots": "shots: [1, 5] draws from 1 to 5 for each batch, [1, 1] is always one",
    "scale_range": "scale_range: [0.9, 1.5]",
}
"""Keys whose value is a pair, and how it is written."""


def load_config(
    path: Path | None = None, overrides: Iterable[str] = (), base: Config | None = None
) -> Config:
    """Read a YAML file and apply overrides such as ``train.batch_size=8``.

    Args:
        path: YAML file with any of the keys of ``Config``; what it leaves out is that of the file
            that its own key ``base`` names, seen from its folder, or else that of ``base``.
        overrides: ``dotted.key=value``, the value in YAML, applied in order; a number in the key
            counts the places of a list, ``train.stages.0.iterations=5``.
        base: what neither says, but for the fold, if they say another kind of data; None is the
            defaults.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value has the wrong type.
    """
    tree = config_to_dict(base or Config())
    # A fold's default depends on the kind that is asked for; that of the base is the base's kind's.
    kind, fold = tree["data"]["kind"], tree["data"].pop("fold")
    overrides = list(overrides)
    if path is not None:
        for layer in _layers(path):
            _merge(tree, layer)
    for override in overrides:
        _apply(tree, override)
    data = tree["data"]
    if base is not None and isinstance(data, dict) and data.get("kind") == kind:
        data.setdefault("fold", fold)
    sources = [str(path)] if path else []
    sources += ["the command line"] if overrides else []
    return config_from_dict(tree, source=" with ".join(sources) or "the configuration")


def text_override(key: str, value: str) -> str:
    """An override whose value stays text, whatever it looks like: a folder may be called 2012."""
    # By YAML itself: JSON writes an emoji as two surrogates, which YAML does not join.
    text = yaml.safe_dump(value, default_style='"', width=math.inf)
    return f"{key}={text.rstrip()}"


def config_from_dict(tree: Mapping[str, Any], source: str = "the configuration") -> Config:
    """Build a ``Config`` from plain dictionaries; errors name ``source``.

    Raises:
        ConfigError: a key is unknown or a value has the wrong type.
    """
    try:
        return TypeAdapter(Config).validate_python(dict(tree))
    except ValidationError as error:
        raise _explain(error, source) from None


def config_to_dict(config: Config) -> dict[str, Any]:
    """Plain dictionaries and lists, for YAML and JSON."""
    tree: dict[str, Any] = TypeAdapter(Config).dump_python(config, mode="json")
    return tree


def with_model(config: Config, **changes: Any) -> Config:
    """The same configuration with some fields of the model changed and checked.

    Raises:
        ConfigError: a value is not allowed.
    """
    tree = config_to_dict(config)
    tree["model"].update(changes)
    return config_from_dict(tree, source="the command line")


def _layers(path: Path, above: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """What the files say, beginning with the one at the bottom of the chain of ``base``."""
    if path.resolve() in above:
        raise ConfigError(f"{path} is its own base", "remove the key base from one of the files")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {path}",
            "configs/ in the repository has some to start from",
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path} is not readable YAML: {_one_line(error)}",
            "the line above is where reading stopped; configs/ has some to compare with",
        ) from error
    if loaded is None:
        return []
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values", "start from configs/")
    base = loaded.pop("base", None)
    if base is None:
        return [loaded]
    if not isinstance(base, str):
        raise ConfigError(f"the base of {path} is {base!r}", "name a file, such as full.yaml")
    return [*_layers(path.parent / base, (*above, path.resolve())), loaded]


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put changes into a tree; sections are merged, all else is replaced."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _apply(tree: Any, override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(
            f"'{override}' is not an override",
            "write key=value, for example train.batch_size=8",
        )
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of '{override}' is not YAML: {_one_line(error)}") from error
    *parents, leaf = key.split(".")
    for number, part in enumerate((*parents, leaf)):
        if isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            place: str | int = int(part)
        elif isinstance(tree, dict):
            place = part
        else:
            above = ".".join(parents[:number])
            raise ConfigError(
                f"'{key}' has no such part: '{above}' is {_kind(tree)}",
                "arnet/config.py has every key",
            )
        if number == len(parents):
            tree[place] = value
        else:
            tree = tree.setdefault(place, {}) if isinstance(tree, dict) else tree[int(place)]


def _kind(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else "a value, not a section"


def _explain(error: ValidationError, source: str) -> ConfigError:
    """The first problem in words; for an unknown key the keys that exist there."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _keys_beside(first["loc"])
        hint = f"the keys there are: {', '.join(known)}" if known else ""
        return ConfigError(f"{source} has the unknown key '{place}'", hint)
    hint = "see arnet/config.py for every key, its type and its default"
    # Pydantic calls the second of a pair that has one number a key, "shots.1".
    for key, example in _RANGES.items():
        if key in first["loc"] and first["type"] in ("missing", "too_long", "tuple_type"):
            place = place.partition(key)[0] + key
            return ConfigError(
                f"{source}: '{place}' is {first['input']!r}, not two numbers",
                f"it is a range, least and most: {example}",
            )
    if first["type"] == "missing":
        return ConfigError(f"{source} lacks '{place}'", hint)
    # A contradiction between values says itself which; elsewhere the value is what is wrong.
    found = "" if first["type"] == "value_error" else f" is {first['input']!r}"
    return ConfigError(
        f"{source}: '{place}'{found}: {first['msg'].removeprefix('Value error, ')}", hint
    )


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Config
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        # A section is made by its own class; all others are lists of sections.
        inner = {item.name: item for item in dataclasses.fields(section)}[str(part)]
        factory = inner.default_factory
        section = factory if isinstance(factory, type) else _LISTED[inner.name]
    return [item.name for item in dataclasses.fields(section)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
