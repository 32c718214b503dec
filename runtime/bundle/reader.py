"""A bundle on the disk, a folder or a zip: everything that is handed out has been verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from arnet.runtime.bundle.manifest import MANIFEST, Manifest
from arnet.runtime.bundle.sources import COPY_AGAIN, Source, opened
from arnet.runtime.errors import BundleError

_MAX_MANIFEST = 16 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found to be those of its manifest.

    The hashes protect against damage and mix-ups. They do not tell who made the bundle.

    Attributes:
        path: the folder or the zip.
        manifest: what it holds.
        sha256: of the manifest, which holds the hashes of all other files: the bundle's identity.
    """

    path: Path
    manifest: Manifest
    sha256: str

    @staticmethod
    def open(path: str | Path) -> Bundle:
        """Read the manifest of a bundle, then verify every file that it lists.

        Nothing is unpacked. In a zip every entry must be listed; in a folder other files, such as
        a note or a thumbnail, are left alone and never read.

        Args:
            path: a folder, or the same files in a zip.

        Raises:
            BundleError: if there is no bundle, it is damaged, edited, incomplete or newer.
        """
        path = Path(path)
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            raise BundleError(
                f"{path} is what an interrupted export left behind", "Export the bundle again."
            )
        with opened(path) as source:
            data = _manifest(source)
            manifest = Manifest.from_json(data)
            source.check_names({MANIFEST, *manifest.files})
            bundle = Bundle(path, manifest, hashlib.sha256(data).hexdigest())
            for name in manifest.files:
                for _ in bundle._verified(source, name):
                    pass  # hashed chunk by chunk, however large the file is
        return bundle

    def read(self, name: str) -> bytes:
        """Read a file that the manifest lists; it is verified once more.

        Raises:
            BundleError: if it is not listed, or is no longer what the manifest says.
        """
        if name not in self.manifest.files:
            raise BundleError(f"the bundle {self.path} holds no {name}", "Export it again.")
        with opened(self.path) as source:
            return b"".join(self._verified(source, name))

    def _verified(self, source: Source, name: str) -> Iterator[bytes]:
        """Yield the content of a file; raise at the end if it was another."""
        info = self.manifest.files[name]
        size = source.size(name)
        if size != info.bytes:
            raise BundleError(
                f"{self.path}: {name} has {size} bytes; the manifest says {info.bytes}", COPY_AGAIN
            )
        digest = hashlib.sha256()
        with source.open(name) as stream:
            # One byte more than there may be: what unpacks to more than it says is found out.
            for chunk in _chunks(stream, info.bytes + 1):
                digest.update(chunk)
                size -= len(chunk)
                yield chunk
        if size != 0 or digest.hexdigest() != info.sha256:
            raise BundleError(
                f"{self.path}: {name} is not the file that the manifest describes"
                f" (SHA-256 {digest.hexdigest()[:12]}..., needed {info.sha256[:12]}...)",
                COPY_AGAIN,
            )


def _manifest(source: Source) -> bytes:
    with source.open(MANIFEST) as stream:
        data = b"".join(_chunks(stream, _MAX_MANIFEST + 1))
    if len(data) > _MAX_MANIFEST:
        raise BundleError(
            f"{MANIFEST} has more than {_MAX_MANIFEST} bytes", "Export the bundle again."
        )
    return data


def _chunks(stream: IO[bytes], most: int) -> Iterator[bytes]:
    while most > 0 and (chunk := stream.read(min(_CHUNK, most))):
        most -= len(chunk)
        yield chunk
