"""Opening image files with Pillow: upright, quiet, and with one kind of error."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from arnet.runtime.errors import ArnetError, ImageError, install
from arnet.runtime.finding import HEIF_SUFFIXES, VIDEO_SUFFIXES, broken_link

MAX_PIXELS = 250_000_000
"""Largest accepted image. Pillow's own limit (179 million) is below today's largest sensors."""

_EXIF_ORIENTATION = 0x0112
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_limit_lock = threading.Lock()
_quiet_lock = threading.Lock()
_caught = ExitStack()
_reading = 0

# Pillow logs some kinds of damage; without any handler, Python would print them.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def opened(path: Path, decode: bool = True) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong, also inside the block, is an ImageError.

    Args:
        path: the file.
        decode: decode the pixels and apply the EXIF orientation; else only the header is read.

    Yields:
        The image, valid inside the block.

    Raises:
        ImageError: naming the file and what is wrong with it.
    """
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not an image.", "Give one image file.")
    try:
        # From an open file: by name, Pillow maps it into memory and garbles turned TIFFs.
        with _quiet(), path.open("rb") as file, _open(file, path) as image:
            if decode:
                image.load()
                yield _upright(image)
            else:
                yield image
    except ArnetError:
        raise
    except FileNotFoundError as error:
        if path.is_symlink():
            raise broken_link(path) from error
        raise ImageError(f"{path} does not exist.", "Check the name.") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read.", "Check its permissions.") from error
    except UnidentifiedImageError as error:
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes).", "Copy it again.") from error
        hint = "Save it as JPEG or PNG."
        if path.suffix.lower() in HEIF_SUFFIXES and not _with_heif():
            hint = f"{install('heic')} reads this format; or save it as JPEG."
        if path.suffix.lower() in VIDEO_SUFFIXES:
            hint = f"If it is a video, arnet infer takes it with --video {path}."
        raise ImageError(f"{path} is not an image that can be read.", hint) from error
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        detail = str(error) or type(error).__name__
        raise ImageError(
            f"{path} is damaged or incomplete ({detail}).", "Copy or download it again."
        ) from error


@cache
def _with_heif() -> bool:
    """Let Pillow read HEIF, the format of telephones, if pillow-heif is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's own warnings, which are about harmless metadata.

    The filters are the process's: of several threads the first changes them and the last puts them
    back. Did each do so by itself, one that ends late would put back what another had changed.
    """
    global _reading
    with _quiet_lock:
        if not _reading:
            _caught.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module="PIL")
        _reading += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _reading -= 1
            if not _reading:
                _caught.close()


def _open(file: IO[bytes], path: Path) -> Image.Image:
    if path.suffix.lower() in HEIF_SUFFIXES:
        _with_heif()
    # The limit is Pillow's global; it is lifted for the header only, and ours is checked instead.
    with _limit_lock:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = usual
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path} has {width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} million fit.",
            "Scale it down or cut it into tiles.",
        )
    return image


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 where there is none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged metadata does not make the pixels unreadable
        return 1


def _upright(image: Image.Image) -> Image.Image:
    transpose = _TO_UPRIGHT.get(orientation(image))
    return image if transpose is None else image.transpose(transpose)
