"""How the fuzz tests damage things, and what they expect of whoever reads them."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arnet.runtime.errors import ArnetError

MOST_SECONDS = 5.0
EXAMPLES = {
    "manifest bytes": 1000,
    "manifest values": 2000,
    "zip": 1500,
    "state": 1500,
    "labelme": 1500,
    "coco": 1500,
    "voc": 1000,
    "rle": 1500,
    "names": 500,
    "supports": 500,
}


def fuzz(name: str, **strategies: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Runs a test with so many inputs, the same ones each time."""

    def decorate(test: Any) -> Any:
        checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        options = settings(
            max_examples=EXAMPLES[name],
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=checks,
        )
        return options(given(**strategies)(test))

    return decorate


def outcome(read: Callable[[], Any]) -> Any:
    """What a reader makes of an input: a value, or an ArnetError; anything else fails the test."""
    started = time.perf_counter()
    try:
        return read()
    except ArnetError as error:
        assert error.message
        return error
    finally:
        assert time.perf_counter() - started < MOST_SECONDS


# How things are damaged.

PLACE = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "overwrite", "cut", "repeat"]),
        PLACE,
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2.5, 1e-300, 1e300, -1e300, 2**31, 2**63, 10**18, 10**40,
    float("nan"), float("inf"), "", "x", "0", "-1", "1e999", "nan", "\x00", "\ud800", "../x",
    "a" * 5000, [], {}, [[]], [None], [0, 0], [1e300, -1e300], [10**9, 10**9], [[0, 0]] * 3,
    {"size": [12, 16], "counts": "P"}, {"id": 1}, ["a", "b"], "P" * 3000, [2**40] * 4,
]  # fmt: skip
CHANGES = st.lists(
    st.tuples(
        st.lists(PLACE, min_size=1, max_size=7),
        st.sampled_from(["set", "set", "set", "delete", "copy", "rename"]),
        st.one_of(st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=4)),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    """Bytes with some of them changed, lost, added or repeated."""
    for kind, place, content in edits:
        at = int(place * len(data))
        rest = {
            "flip": bytes(b ^ (content[0] or 1) for b in data[at : at + 1]) + data[at + 1 :],
            "delete": data[at + content[0] % 16 + 1 :],
            "insert": content + data[at:],
            "overwrite": content + data[at + len(content) :],
            "cut": b"",
            "repeat": data[at : at + 40] + data[at:],
        }[kind]
        data = data[:at] + rest
    return data


def changed(document: Any, changes: list[tuple[list[float], str, Any]]) -> Any:
    """JSON with some of its values and keys changed; each place is looked up from the top."""
    holder = [copy.deepcopy(document)]
    for places, kind, value in changes:
        container: Any = holder
        key: Any = 0
        for place in places:
            inner = container[key]
            if not isinstance(inner, dict | list) or not inner:
                break
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            container, key = inner, keys[int(place * len(keys))]
        if container is holder or kind == "set":
            container[key] = copy.deepcopy(value)
        elif kind == "delete":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[str(value)[:20]] = container.pop(key) if kind == "rename" else container[key]
    return holder[0]


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()
