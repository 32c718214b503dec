"""Files of any kind: their hash, and how they are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from arnet.runtime.errors import FileError, OutputError


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        FileError: if it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(
            f"{path} cannot be read: {error.strerror or error}",
            "check that it is there, and that you may read it",
        ) from error


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that becomes the file when the block succeeds.

    A reader sees the old file or the new one, never a half. If the block fails, the temporary
    file is removed and the old file stays. Missing folders are made.

    Args:
        path: the file to write.

    Yields:
        The path to write to instead.

    Raises:
        OutputError: if the system refuses (no space, no permission, a folder in the way).
    """
    path = Path(path)
    # Not from tempfile: its files are readable by their owner alone.
    temporary = path.with_name(_temporary(path, uuid.uuid4().hex))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}.",
            "Check that the folder can be written to and that the disk has space.",
        ) from error
    finally:
        # After a success there is nothing left to remove; after a failure, removing may fail too.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of writing a file. None may be writing it now.

    Args:
        path: the file that was to be written with :func:`atomic_write`.
    """
    for leftover in path.parent.glob(_temporary(path, "*")):
        leftover.unlink(missing_ok=True)


def _temporary(path: Path, unique: str) -> str:
    """A name that tells what for, and is short: that of the file may be as long as can be."""
    return f".{crc32(os.fsencode(path.name)):08x}-{unique}.tmp"


def write_json(path: str | Path, data: Any) -> None:
    r"""Write data as indented UTF-8 JSON, whole or not at all.

    A byte of a file name that is no UTF-8 becomes an escape, ``\udce9``, that JSON reads back.

    Args:
        path: the file to write.
        data: dictionaries, lists, text, finite numbers; NumPy scalars and arrays and paths too.

    Raises:
        OutputError: if the file cannot be written.
        ValueError: if a number is not finite, which JSON cannot hold.
        TypeError: if a value has no JSON form.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
