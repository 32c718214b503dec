"""Photographs and index masks that lie in files, one each per image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arnet.data.scan import Scan, SmallObjectFilter, cached_scan, files_key, scan_masks
from arnet.runtime.errors import DataError
from arnet.runtime.images import image_size, read_image, read_mask


@dataclass(frozen=True)
class FileSource:
    """Photographs and masks in files.

    Attributes:
        images: path of the photograph of each image id.
        masks: path of the index mask of each image id.
        only: class id that 255 stands for, where the masks mark one class by it as those of
            ``arnet infer`` do; None leaves 255 to be ignored.
    """

    images: dict[str, Path]
    masks: dict[str, Path]
    only: int | None = None

    def image(self, image_id: str) -> np.ndarray:
        """Photograph, uint8 RGB of shape (H, W, 3)."""
        return read_image(self.images[image_id])

    def mask(self, image_id: str) -> np.ndarray:
        """Index mask, uint8 of shape (H, W)."""
        mask = read_mask(self.masks[image_id])
        if self.only is not None:
            mask[mask == 255] = self.only
        return mask

    def scan(
        self,
        class_ids: Collection[int],
        small_objects: SmallObjectFilter,
        cache_dir: Path | None,
    ) -> Scan:
        """Classes of every image; see :func:`arnet.data.scan.scan_masks`."""
        ids = list(self.masks)
        parts = [repr(small_objects), repr(sorted(class_ids)), files_key([*self.masks.values()])]
        key = "\n".join(parts)
        return cached_scan(
            cache_dir, key, lambda: scan_masks(ids, self.mask, class_ids, small_objects)
        )


def require_folder(root: Path) -> None:
    """Raises DataError where there is no such folder, before anything is missed in it."""
    if not root.is_dir():
        raise DataError(
            f"{root} is a file" if root.exists() else f"there is no folder {root}",
            "name the folder that holds the data: --data DIR, or data.root",
        )


def require_files(what: str, paths: Sequence[Path], hint: str) -> None:
    """Raises DataError that counts and names the files that are missing."""
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} {what} are missing: {some(missing)}", hint)


def require_equal_sizes(source: FileSource) -> None:
    """Raises DataError where a mask has another size than its photograph."""
    unequal = []
    for image_id, path in source.images.items():
        (height, width), (rows, columns) = image_size(path), image_size(source.masks[image_id])
        if (height, width) != (rows, columns):
            unequal.append(f"{image_id} (photograph {width}x{height}, mask {columns}x{rows})")
    if unequal:
        raise DataError(
            f"{len(unequal)} masks have another size than their photographs: {some(unequal)}",
            "a mask labels its photograph pixel by pixel: export both at one size",
        )


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file without the empty ones, stripped.

    Raises:
        DataError: it cannot be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}", "save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
