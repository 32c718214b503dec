"""Photographs are found: by file, folder or pattern, and what is none is told."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arnet.runtime.errors import ImageError

HEIF_SUFFIXES = frozenset((".heic", ".heif"))
"""Endings of photographs that need pillow-heif to be read."""

IMAGE_SUFFIXES = HEIF_SUFFIXES | frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".ppm")
)
"""File name endings (lower case) that are taken for photographs."""

UNREADABLE_SUFFIXES = frozenset((".dng", ".cr2", ".cr3", ".nef", ".arw"))
"""Endings of photographs that are not read; they are told, not passed over."""

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts")
)
"""Endings of videos, which are no photographs; they are told, too."""


@dataclass(frozen=True)
class Query:
    """A photograph to segment.

    Attributes:
        path: the photograph.
        name: what is written of it begins with this, below the folder for the results; the
            stem of the file, behind its folders where a pattern searched several.
    """

    path: Path
    name: str

    @staticmethod
    def of(path: Path) -> Query:
        """A photograph by itself."""
        return Query(path, path.stem)


def find_queries(patterns: Iterable[str]) -> list[Query]:
    """Find the photographs that several patterns name, each photograph once.

    Args:
        patterns: see ``find_images``. Of ``photos/**/*.jpg``, ``photos/may/a.jpg`` has the name
            ``may/a``: the folders below the part that searches nothing are kept.

    Raises:
        ImageError: see ``find_images``.
    """
    found: dict[str, Query] = {}
    for pattern in patterns:
        for path in find_images(pattern):
            # A folder may be named in several ways; a link stays a photograph of its own.
            place = os.path.abspath(path)  # noqa: PTH100
            found.setdefault(place, Query(path, _name(path, pattern)))
    return list(found.values())


def _name(path: Path, pattern: str) -> str:
    root = Path(pattern).expanduser()
    if path == root:
        return path.stem
    while glob.has_magic(str(root)) and not root.is_dir():
        root = root.parent
    # A pattern with .. in it finds what is not below its fixed part.
    below = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return below.with_suffix("").as_posix() if ".." not in below.parts else path.stem


def find_images(pattern: str) -> list[Path]:
    """Find photographs by file, folder or glob pattern.

    A folder is not searched recursively (``folder/**/*.jpg`` is). Hidden files, ``__MACOSX`` and
    everything without an image's suffix are ignored; a file named outright is taken as it is.

    Args:
        pattern: FILE | DIR | GLOB; ``~`` is the home folder.

    Returns:
        The paths, sorted, at least one.

    Raises:
        ImageError: if nothing is found, or some are of a raw format or videos.
    """
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    # Path.glob refuses absolute patterns.
    matches = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
    paths = list(matches)
    found = _photographs(paths, pattern)
    _check_videos(paths, found, pattern)
    if found:
        return found
    if path.is_dir():
        raise ImageError(
            f"{pattern} holds no images.",
            f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}. Sub-folders are searched with a"
            f' pattern: "{path}/**/*.jpg".',
        )
    raise ImageError(
        f"{pattern} matches no images.",
        'Give a file, a folder or a quoted pattern such as "photos/*.jpg".',
    )


def images_in(folder: Path) -> list[Path]:
    """Return the photographs directly in a folder, sorted by name.

    Raises:
        ImageError: if some are of a raw format, or one is a link to nothing.
    """
    found = _photographs(folder.iterdir(), str(folder))
    for path in found:
        if not path.is_file():
            raise broken_link(path)
    return found


def broken_link(path: Path) -> ImageError:
    """The error for a link to a photograph that is not there."""
    return ImageError(
        f"{path} is a link to {path.readlink()}, where there is no file.",
        "Put the photograph there, or remove the link.",
    )


def is_image(path: Path) -> bool:
    """Tell whether a path is a file that is meant as a photograph, by its name."""
    return _has_image_name(path) and path.is_file()


def _photographs(paths: Iterable[Path], place: str) -> list[Path]:
    """The photographs among some paths, sorted; one that cannot be read is never passed over."""
    shown = sorted(path for path in paths if not _is_hidden(path))
    found = [path for path in shown if _has_image_name(path) and _is_file_or_broken_link(path)]
    raw = [path for path in shown if path.suffix.lower() in UNREADABLE_SUFFIXES]
    if raw:
        number = "a photograph" if len(raw) == 1 else f"{len(raw)} photographs"
        hint = "Convert what is raw to JPEG, or move it away."
        raise ImageError(
            f"{place} has {number} of a raw format, which is not read: {raw[0]}",
            f"{hint} {_only(found)}" if found else hint,
        )
    return found


def _only(photographs: Sequence[Path]) -> str:
    only = photographs[0].with_name(f"*{photographs[0].suffix}")
    return f"Give the photographs alone by a pattern, '{only}'."


def _is_file_or_broken_link(path: Path) -> bool:
    # Reading tells of a link to nothing; to pass it over would be silent.
    return path.is_file() or (path.is_symlink() and not path.exists())


def _check_videos(paths: Iterable[Path], photographs: Sequence[Path], place: str) -> None:
    """Videos among what is to be segmented are not passed over, either."""
    videos = sorted(
        path
        for path in paths
        if path.suffix.lower() in VIDEO_SUFFIXES and not _is_hidden(path) and path.is_file()
    )
    if not videos:
        return
    hint = f"arnet infer takes a video with --video {videos[0]}."
    if photographs:
        hint += f" {_only(photographs)}"
    number = "a video" if len(videos) == 1 else f"{len(videos)} videos"
    raise ImageError(f"{place} has {number}, not only photographs: {videos[0]}", hint)


def _has_image_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(path)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or "__MACOSX" in path.parts
