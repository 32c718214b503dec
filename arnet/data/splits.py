"""How the photographs of a plain folder are divided: what is trained on, what is kept to measure.

What is evaluated must not be trained on, so a photograph that is added must not move the others.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from arnet.data.dataset import Split
from arnet.data.files import read_lines, some
from arnet.runtime.errors import DataError
from arnet.runtime.finding import IMAGE_SUFFIXES

Splits = dict[Split, list[str]]

_TRAINED = 2
"""Photographs of a class that are never kept: one is the support of the other."""
_MEASURED = 2
"""Photographs of a class that are kept where it has more than ``val_every``: no fewer do."""


def listed(root: Path, ids: Sequence[str]) -> Splits | None:
    """What ``train.txt`` and ``val.txt`` say, if they are there.

    Args:
        root: their folder.
        ids: all photographs.

    Raises:
        DataError: one of them is missing, names no photograph or one that is not there, or one is
            in both.
    """
    lists: dict[Split, Path] = {"train": root / "train.txt", "val": root / "val.txt"}
    given = [path for path in lists.values() if path.is_file()]
    if not given:
        return None
    if len(given) == 1:
        raise DataError(
            f"{root} has {given[0].name} but not the other list", "write train.txt and val.txt"
        )
    found = {name: _read_list(path, ids) for name, path in lists.items()}
    if both := sorted(set(found["train"]) & set(found["val"])):
        raise DataError(
            f"{len(both)} images of {root} are in train.txt and in val.txt: {some(both)}",
            "what is evaluated must not be trained on: keep each in one of the lists",
        )
    return found


def by_place(ids: Sequence[str], val_every: int) -> Splits:
    """Every so manieth photograph is kept, by its place: another one in front moves them all."""
    return {"train": [i for n, i in enumerate(ids) if n % val_every], "val": [*ids[::val_every]]}


def by_name(ids: Sequence[str], shown: Mapping[str, Collection[int]], val_every: int) -> Splits:
    """About one photograph of so many is kept, by a hash of its name.

    So those that are added later leave the others where they are. By chance a class may have few
    that are kept, or few that are not: two stay for the training whatever their hashes are, and two
    are kept of a class with more than ``val_every``. The next ones by the hash fill up, and these
    may change where photographs are added.

    Args:
        ids: all photographs.
        shown: classes of a photograph, those that it can serve for.
        val_every: one of so many.
    """
    hashes = {i: hashlib.sha256(os.fsencode(i)).digest() for i in ids}
    kept_below = (2**64 // val_every).to_bytes(8)
    count = Counter(c for i in ids for c in shown.get(i, ()))
    kept: Counter[int] = Counter()
    val: set[str] = set()
    for i in sorted(ids, key=hashes.__getitem__):
        classes = shown.get(i, ())
        few = any(count[c] > val_every and kept[c] < _MEASURED for c in classes)
        spare = all(count[c] - kept[c] > _TRAINED for c in classes)
        if spare and (few or hashes[i] < kept_below):
            val.add(i)
            kept.update(classes)
    return {"train": [i for i in ids if i not in val], "val": [i for i in ids if i in val]}


def _read_list(path: Path, ids: Sequence[str]) -> list[str]:
    """Image ids of a list, with or without suffix; a name may hold spaces."""
    names = [Path(line) for line in read_lines(path)]
    found = [n.stem if n.suffix.lower() in IMAGE_SUFFIXES else n.name for n in names]
    hint = "write one name per line, as in images/"
    if not found:
        raise DataError(f"{path} names no image", hint)
    if unknown := sorted(set(found) - set(ids)):
        raise DataError(
            f"{path} names {len(unknown)} photographs that are not in images/: {some(unknown)}",
            hint,
        )
    return found
