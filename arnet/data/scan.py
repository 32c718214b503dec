"""One pass over the annotations: which classes an image shows, and which are large enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from arnet.runtime.errors import DataError
from arnet.runtime.files import atomic_write

_VERSION = 1  # raise it when the content of a cached scan changes its meaning


@dataclass(frozen=True)
class Presence:
    """Classes of one image.

    Attributes:
        pixels: number of pixels of each class that the mask shows; background and 255 left out.
        usable: class ids that pass the small-object filter, ascending.
    """

    pixels: dict[int, int]
    usable: tuple[int, ...]


Scan = dict[str, Presence]
"""Presence of every image id."""


class SmallObjectFilter(Protocol):
    """Decides from a mask which classes are large enough; its repr names it in the cache."""

    def __call__(self, mask: np.ndarray) -> set[int]:
        """Values of the (H, W) index mask that are large enough; 0 and 255 may be among them."""
        ...


@dataclass(frozen=True)
class AreaFilter:
    """Keeps a class whose pixels reach both a number and a share of the image.

    PFENet's lists ask for 2 * 32 * 32 pixels, to come near OSLSM's rule.

    Attributes:
        pixels: least number of pixels.
        share: least share of the pixels of the image, 0..1.
    """

    pixels: int = 1
    share: float = 0.0

    def __call__(self, mask: np.ndarray) -> set[int]:
        """See :class:`SmallObjectFilter`."""
        counts = np.bincount(mask.ravel(), minlength=256)
        return set(np.flatnonzero(counts >= max(self.pixels, self.share * mask.size)).tolist())


@dataclass(frozen=True)
class GridFilter:
    """Keeps a class that covers more than so many points of a regular grid: the rule of OSLSM.

    OSLSM, from which the field has its PASCAL-5i lists, sub-samples the mask by 32 and keeps a
    class that more than 2 points hit. The grid begins at pixel (1, 1): of all offsets that is the
    one that gives the lists (``tests/data/test_pascal.py`` compares).

    A copy of the data with smaller photographs is measured on the grid of the original: masks
    whose long side is ``shrunk`` count as ``full`` pixels long. Shorter ones were small enough
    from the beginning and count as they are.

    Attributes:
        stride: distance of the points, in pixels of the original mask.
        offset: row and column of the first point, in pixels of the original mask.
        more_than: number of points that a class must exceed.
        full: long side of the original photographs, in pixels.
        shrunk: what it was shrunk to; the same as ``full`` for the original data.
    """

    stride: int = 32
    offset: int = 1
    more_than: int = 2
    full: int = 500
    shrunk: int = 500

    def __call__(self, mask: np.ndarray) -> set[int]:
        """See :class:`SmallObjectFilter`."""
        scale = self.shrunk / self.full if max(mask.shape) == self.shrunk else 1.0
        rows, columns = (self._points(length, scale) for length in mask.shape)
        counts = np.bincount(mask[np.ix_(rows, columns)].ravel(), minlength=256)
        return set(np.flatnonzero(counts > self.more_than).tolist())

    def _points(self, length: int, scale: float) -> np.ndarray:
        # The pixel here that holds the centre of each point's pixel in the original.
        centres = np.arange(self.offset + 0.5, length / scale, self.stride)
        return np.minimum((centres * scale).astype(int), length - 1)


def scan_masks(
    ids: Sequence[str],
    read_mask: Callable[[str], np.ndarray],
    class_ids: Collection[int],
    small_objects: SmallObjectFilter,
) -> Scan:
    """Reads every mask once.

    Args:
        ids: image ids.
        read_mask: gives the uint8 (H, W) index mask of an image id.
        class_ids: indices that the masks may hold besides 0 and 255; with 255 among them it is
            counted, too.
        small_objects: which classes of a mask are large enough.

    Raises:
        DataError: masks hold indices that are no class.
        ImageError: a mask cannot be read.
        AnnotationError: a file is an image but no index mask.
    """
    known = set(class_ids)
    scan: Scan = {}
    for image_id in ids:
        mask = read_mask(image_id)
        counts = np.bincount(mask.ravel(), minlength=256)
        present = [int(c) for c in np.flatnonzero(counts) if c and (c != 255 or 255 in known)]
        kept = small_objects(mask)
        pixels = {c: int(counts[c]) for c in present}
        scan[image_id] = Presence(pixels, tuple(c for c in present if c in kept))
    require_known(scan, known)
    return scan


def require_known(scan: Scan, class_ids: Collection[int]) -> None:
    """Raises DataError that names masks with indices that are no class."""
    strangers = {i: unknown for i, p in scan.items() if (unknown := p.pixels.keys() - class_ids)}
    if strangers:
        first = ", ".join(
            f"{i} ({', '.join(map(str, sorted(v)))})" for i, v in list(strangers.items())[:5]
        )
        raise DataError(
            f"{len(strangers)} masks hold indices that are no class: {first}",
            "a mask holds 0 for background, the class ids, and 255 for pixels to ignore; "
            "name every class in the list of classes",
        )


def cached_scan(cache_dir: Path | None, key: str, compute: Callable[[], Scan]) -> Scan:
    """Gives a scan from the cache, or computes it and stores it there.

    Args:
        cache_dir: folder of the cached scans, made when absent; None computes every time.
        key: everything that the scan depends on: list, modification times, filter.
        compute: makes the scan.
    """
    if cache_dir is None:
        return compute()
    digest = hashlib.sha256(f"{_VERSION}\n{key}".encode()).hexdigest()
    path = cache_dir / f"scan-{digest[:16]}.json"
    cached = _load(path)
    if cached is None:
        cached = compute()
        _store(path, cached)
    return cached


def files_key(paths: Sequence[Path]) -> str:
    """Name, size and modification time of files, one per line.

    Raises:
        DataError: a file is missing.
    """
    lines = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(
                f"{path} is missing", "complete the data set, or take the image out of its list"
            ) from error
        lines.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(lines)


def _load(path: Path) -> Scan | None:
    """The scan of a file; None where it is absent or damaged, since it can be made again."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {
            i: Presence({int(c): n for c, n in row["pixels"].items()}, tuple(row["usable"]))
            for i, row in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _store(path: Path, scan: Scan) -> None:
    rows = {i: {"pixels": p.pixels, "usable": p.usable} for i, p in scan.items()}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(rows), encoding="utf-8")
