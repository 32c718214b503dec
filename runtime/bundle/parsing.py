"""JSON that is not trusted: every value is asked for by key, type and range."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from arnet.runtime.errors import BundleError

_AGAIN = "Copy the bundle again, or export it again."
_MAX_TEXT = 1000


def parse_json(data: bytes, name: str) -> Any:
    """Parse JSON without repeated keys and without numbers that are not finite.

    Args:
        data: UTF-8.
        name: of the file, for the error.

    Raises:
        BundleError: if it is anything else.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_repetition,
            parse_constant=_not_finite,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is not readable JSON ({error}).", _AGAIN) from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_finite(text)


def file_name(name: str, place: str) -> str:
    """Return the name of a file inside a bundle if it stays inside, on every system.

    Args:
        name: parts joined by "/".
        place: where it was found, for the error.

    Raises:
        BundleError: for absolute names, drive letters, "..", backslashes and control characters.
    """
    if (
        len(name) > 200
        or not name.isprintable()
        or any(character in name for character in '\\:*?"<>|')
        or any(part in ("", ".", "..") for part in name.split("/"))
    ):
        raise BundleError(
            f"{place}: {name[:200]!r} is not the name of a file inside a bundle",
            "Do not use this bundle; export it again.",
        )
    return name


class Entry:
    """A JSON object of which every key must be asked for.

    Attributes:
        place: where it stands, for errors, such as "manifest.json: stages.decode".
        keys: the keys it has.
    """

    def __init__(self, values: dict[str, Any], place: str) -> None:
        self.place = place
        self.keys = tuple(values)
        self._values = values
        self._asked: set[str] = set()

    @staticmethod
    def root(value: Any, file: str) -> Entry:
        """Take the outermost value of a file.

        Raises:
            BundleError: if it is no object.
        """
        if not isinstance(value, dict):
            raise BundleError(f"{file} is not a JSON object.", _AGAIN)
        return Entry(value, file)

    def wrong(self, key: str, found: Any, needed: str) -> BundleError:
        """Build the error for a value that cannot be."""
        shown = repr(found)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
        return BundleError(f"{self._name(key)} is {shown}; needed: {needed}.", _AGAIN)

    def finish(self) -> None:
        """Complain about keys that were not asked for.

        Raises:
            BundleError: if there are any.
        """
        for key in self.keys:
            if key not in self._asked:
                raise BundleError(f"{self._name(key)}: the key is unknown.", _AGAIN)

    def text(self, key: str) -> str:
        """A short printable text that is not empty."""
        return self._text(key, self._get(key))

    def one_of(self, key: str, known: Sequence[str]) -> str:
        """One of the texts that are known."""
        value = self._get(key)
        if not isinstance(value, str) or value not in known:
            raise self.wrong(key, value, " or ".join(known))
        return value

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self._get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def integer(self, key: str, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``."""
        return self._integer(key, self._get(key), least, most)

    def optional_integer(self, key: str, least: int, most: int) -> int | None:
        """As :meth:`integer`, or null."""
        return None if self._get(key) is None else self.integer(key, least, most)

    def pair(self, key: str, least: int, most: int) -> tuple[int, int]:
        """Two whole numbers."""
        first, second = self._list(key, 2, 2)
        return self._integer(key, first, least, most), self._integer(key, second, least, most)

    def integers(self, key: str, count: int, least: int, most: int) -> list[int]:
        """Exactly ``count`` whole numbers from ``least`` to ``most``."""
        values = self._list(key, count, count)
        return [self._integer(key, value, least, most) for value in values]

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """At most ``most`` printable texts, none of them empty."""
        return tuple(self._text(key, value) for value in self._list(key, 0, most))

    def numbers(self, key: str, count: int) -> list[float]:
        """Exactly ``count`` numbers of reasonable size."""
        values = self._list(key, count, count)
        for value in values:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not abs(value) < 1e6:
                raise self.wrong(key, value, "a number")
        return [float(value) for value in values]

    def shape(self, key: str, rank: int, most: int) -> tuple[int | str, ...]:
        """At most ``rank`` sizes from 1 to ``most``, or names of dynamic ones."""
        return tuple(
            self._text(key, size) if isinstance(size, str) else self._integer(key, size, 1, most)
            for size in self._list(key, 0, rank)
        )

    def optional_object(self, key: str) -> dict[str, Any] | None:
        """Free JSON: an object, or null."""
        value = self._get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, value, "an object or null")
        return value

    def entry(self, key: str) -> Entry:
        """The object under a key."""
        value = self._get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, value, "an object")
        return Entry(value, f"{self._name(key)}")

    def entries(self, key: str, most: int) -> Iterable[tuple[str, Entry]]:
        """An object of at most ``most`` objects."""
        inner = self.entry(key)
        if len(inner.keys) > most:
            raise self.wrong(key, len(inner.keys), f"at most {most} entries")
        return [(inner._text(name[:80], name), inner.entry(name)) for name in inner.keys]

    def items(self, key: str, most: int) -> Iterable[Entry]:
        """A list of at most ``most`` objects."""
        found = []
        for number, value in enumerate(self._list(key, 0, most)):
            if not isinstance(value, dict):
                raise self.wrong(key, value, "objects")
            found.append(Entry(value, f"{self._name(key)}.{number}"))
        return found

    def _get(self, key: str) -> Any:
        if key not in self._values:
            raise BundleError(f"{self._name(key)}: the key is missing.", _AGAIN)
        self._asked.add(key)
        return self._values[key]

    def _list(self, key: str, least: int, most: int) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list) or not least <= len(value) <= most:
            count = f"{least}" if least == most else f"at most {most}"
            raise self.wrong(key, value, f"a list of {count} values")
        return value

    def _integer(self, key: str, value: Any, least: int, most: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, value, f"a whole number from {least} to {most}")
        return value

    def _text(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT or not value.isprintable():
            raise self.wrong(key, value, f"a printable text of 1 to {_MAX_TEXT} characters")
        return value

    def _name(self, key: str) -> str:
        joint = ": " if self.place.endswith(".json") else "."
        return f"{self.place}{joint}{key}"
