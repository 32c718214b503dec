"""Files of any kind."""

from __future__ import annotations

import hashlib
from pathlib import Path

from arnet.runtime.errors import FileError


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
