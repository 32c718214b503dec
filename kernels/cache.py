"""Compiled kernels on the disk, so that each is compiled once.

The folder is ``$ARNET_CACHE``, or ``arnet/kernels`` in the user's cache folder. A file is named by
everything it depends on and holds a digest of its content: what is damaged is made again.
"""

from __future__ import annotations

import hashlib
import os
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MAGIC = b"arnet-kernel-1\n"


def folder() -> Path:
    """Where compiled kernels are kept."""
    if given := os.environ.get("ARNET_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "arnet" / "kernels"


def cached(label: str, depends_on: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
    """What ``make`` returns, from the disk if it is there.

    Args:
        label: beginning of the file's name, for the reader of the folder.
        depends_on: everything that the content depends on.
        make: makes the content.

    A folder that cannot be written is told as a warning: all works, but slower.
    """
    key = hashlib.sha256("\0".join((label, *depends_on)).encode()).hexdigest()
    path = folder() / f"{label}-{key[:32]}"
    content = _read(path)
    if content is None:
        content = make()
        try:
            write(path, MAGIC + hashlib.sha256(content).digest() + content)
        except OSError as error:
            warnings.warn(
                f"compiled kernels are not kept: {folder()}: {error.strerror}; "
                "set ARNET_CACHE to a folder that can be written",
                RuntimeWarning,
                stacklevel=2,
            )
    return content


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; missing folders are made.

    Raises:
        OSError: if it cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        found = path.read_bytes()
    except OSError:
        return None
    digest, content = found[len(MAGIC) :][:32], found[len(MAGIC) + 32 :]
    whole = found.startswith(MAGIC) and hashlib.sha256(content).digest() == digest
    return content if whole else None
