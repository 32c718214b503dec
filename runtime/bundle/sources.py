"""Where the files of a bundle come from: a folder, or a zip that is read but never unpacked."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from arnet.runtime.bundle.manifest import MANIFEST
from arnet.runtime.bundle.parsing import file_name
from arnet.runtime.errors import BundleError

COPY_AGAIN = "Copy the bundle again, or export it again."
"""The hint for damage."""

_MAX_ENTRIES = 1024
_KNOWN_COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and zlib raise for damaged archives besides BadZipFile.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)


class Source(Protocol):
    """Files by name."""

    def check_names(self, listed: Collection[str]) -> None:
        """Complain about files that should not be there.

        Raises:
            BundleError: if there are any.
        """
        ...

    def size(self, name: str) -> int:
        """Size of a file in bytes, as the file system or the archive states it.

        Raises:
            BundleError: if it is not there.
        """
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            BundleError: if it is not there.
        """
        ...


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a bundle for reading; whatever goes wrong while it is read is a BundleError.

    Args:
        path: a folder or a zip.

    Raises:
        BundleError: if it is neither, is damaged or unsafe, or cannot be read.
    """
    try:
        if path.is_dir():
            yield _Folder(path)
        elif not path.is_file():
            raise BundleError(f"there is no bundle {path}", "Give a folder or a zip of an export.")
        elif not zipfile.is_zipfile(path):
            raise BundleError(
                f"{path} is neither the folder nor the zip of a bundle",
                "arnet export makes a bundle of a checkpoint; a manifest.json is opened by its"
                " folder's name; a damaged zip must be copied again.",
            )
        else:
            with zipfile.ZipFile(path) as archive:
                yield _Zip(path, archive)
    except _DAMAGE as error:
        raise BundleError(f"{path} cannot be read ({error}).", COPY_AGAIN) from error


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def check_names(self, listed: Collection[str]) -> None:
        """A folder may hold other things; they are never read."""

    def size(self, name: str) -> int:
        return self._file(name).stat().st_size

    def open(self, name: str) -> IO[bytes]:
        return self._file(name).open("rb")

    def _file(self, name: str) -> Path:
        file = self._path / name
        if not file.is_file():
            raise _missing(self._path, name)
        return file


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._entries: dict[str, zipfile.ZipInfo] = {}
        if len(archive.infolist()) > _MAX_ENTRIES:
            raise self._refused(f"it has {len(archive.infolist())} entries")
        for entry in archive.infolist():
            # The name as it stands in the file; zipfile's own depends on the system.
            name = file_name(entry.orig_filename.removesuffix("/"), f"{path}")
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if name in self._entries:
                raise self._refused(f"{name} is there twice")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise self._refused(f"{name} is a link or a device")
            if entry.compress_type not in _KNOWN_COMPRESSION:
                raise self._refused(f"{name} is compressed by another method than deflate")
            if not entry.is_dir():
                self._entries[name] = entry

    def check_names(self, listed: Collection[str]) -> None:
        for name in self._entries:
            if name not in listed:
                raise self._refused(f"it holds {name}, which the manifest does not list")

    def size(self, name: str) -> int:
        return self._entry(name).file_size

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._entry(name))

    def _entry(self, name: str) -> zipfile.ZipInfo:
        if name not in self._entries:
            raise _missing(self._path, name)
        return self._entries[name]

    def _refused(self, why: str) -> BundleError:
        return BundleError(f"{self._path}: {why}", "Zip the files of the bundle again.")


def _missing(path: Path, name: str) -> BundleError:
    if name == MANIFEST:
        return BundleError(
            f"{path} has no {MANIFEST}: it is no bundle, or its export was interrupted",
            "Give the folder that arnet export wrote, or a zip of the files in it (not of the"
            " folder).",
        )
    return BundleError(f"{path} has no {name}, which the manifest lists", COPY_AGAIN)
