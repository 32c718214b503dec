"""Photographs and masks: read and written.

Whatever the file holds (palette, alpha, CMYK, 16 bits, EXIF orientation), a photograph comes out
as 8-bit RGB and a mask as 8-bit index values; whatever is wrong with it becomes an
:class:`ImageError` that names the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arnet.runtime.decoding import opened, orientation
from arnet.runtime.errors import AnnotationError, ImageError, OutputError
from arnet.runtime.files import atomic_write

GREY_BITS = (8, 10, 12, 14, 16)
"""Bits that cameras give to a pixel of a grey photograph stored with 16."""

MOST_LABELS = 32
"""A mask with more values than this, none of them named, is a photograph or has soft edges."""

_TURNED = (5, 6, 7, 8)
"""EXIF orientations of a photograph that is stored lying on its side."""

Colour = tuple[int, int, int]


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph as it is meant to be seen.

    EXIF orientation is applied, transparent pixels are laid on white, of an animation the first
    frame is taken. Colour profiles are not applied.

    16-bit grey is scaled to 0..255 from the fewest bits, 8, 10, 12, 14 or 16, that hold its largest
    value: microscopes and thermal cameras store 10 to 14 bits as they are, which would be nearly
    black out of 65535. It is not stretched to its own smallest and largest value, so that one hot
    pixel changes nothing and two pictures of one camera mostly look alike; where one of them is so
    dark that it needs fewer bits, it is brighter than it should be beside the other.

    Args:
        path: the image file; at most 250 million pixels.

    Returns:
        (H, W, 3) uint8, RGB, writable.

    Raises:
        ImageError: if the file is missing, empty, damaged, too large or not an image.
    """
    path = Path(path)
    with opened(path) as image:
        if image.mode.startswith(("I", "F")):
            grey = _grey_16_bit(image, path)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.has_transparency_data:
            pixels = image.convert("RGBA")
            white = Image.new("RGBA", pixels.size, "white")
            return np.array(Image.alpha_composite(white, pixels).convert("RGB"))
        # Converting copies even where there is nothing to convert.
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def icc_profile(path: str | Path) -> bytes | None:
    """The colour profile of what :func:`read_image` gives; None if there is none.

    That of a photograph in other colours than RGB, such as CMYK, means nothing after conversion.

    Raises:
        ImageError: as for :func:`image_size`.
    """
    with opened(Path(path), decode=False) as image:
        profile = image.info.get("icc_profile")
        return profile if image.mode in ("RGB", "RGBA", "P") else None


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the (height, width) that :func:`read_image` would give, mostly without decoding.

    Raises:
        ImageError: as for :func:`read_image`, except for damage that only decoding finds.
    """
    with opened(Path(path), decode=False) as image:
        width, height = image.size
        # Pillow gives the size of a TIFF already upright.
        turned = image.format != "TIFF" and orientation(image) in _TURNED
        return (width, height) if turned else (height, width)


def is_turned(path: Path) -> bool:
    """Whether the EXIF orientation of a photograph exchanges its width and its height.

    Raises:
        ImageError: as for :func:`image_size`.
    """
    with opened(path, decode=False) as image:
        return orientation(image) in _TURNED


def read_mask(path: str | Path, colours: Mapping[Colour, int] | None = None) -> NDArray[np.uint8]:
    """Read a mask as raw index values: palette indices, not palette colours.

    EXIF orientation is applied if the mask itself has one. A 1-bit image gives 0 and 1. A 16-bit
    image must have values up to 255, be an 8-bit one widened (multiples of 257), or have two
    values. An RGB image must be grey, consist of black and one other colour (1), or of the
    colours given. Fully transparent pixels of a mask with an alpha channel are 0.

    Args:
        path: the mask file.
        colours: the value of each RGB colour, for masks that are painted with label colours.

    Returns:
        (H, W) uint8, writable.

    Raises:
        ImageError: if the file cannot be read as an image.
        AnnotationError: if it is an image but not a mask, such as a colour photograph.
    """
    path = Path(path)
    with opened(path) as image:
        return mask_values(image, str(path), colours)


def mask_values(
    image: Image.Image, name: str, colours: Mapping[Colour, int] | None = None
) -> NDArray[np.uint8]:
    """Turn an opened image into mask values, by the rules of :func:`read_mask`.

    Args:
        image: a decoded image of any mode.
        name: what to call it in an error.
        colours: as in :func:`read_mask`.

    Returns:
        (H, W) uint8, writable.

    Raises:
        AnnotationError: if the image is not a mask.
    """
    if image.mode in ("1", "L", "P"):
        return np.array(image).astype(np.uint8)
    if image.mode == "PA":
        return np.array(image)[:, :, 0]
    if image.mode.startswith(("I", "F")):
        return _mask_from_wide_values(np.asarray(image), name)
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        return _mask_from_transparency(np.array(image.convert("RGBA")), name, colours)
    return _mask_from_colours(np.array(image.convert("RGB")), name, colours)


def save_image(
    path: str | Path,
    array: NDArray[np.uint8],
    palette: NDArray[np.uint8] | None = None,
    fast: bool = False,
    icc_profile: bytes | None = None,
) -> None:
    """Write an image, whole or not at all; the suffix decides the format.

    Args:
        path: where to; missing folders are made, an existing file is replaced.
        array: (H, W) uint8 grey or index values, (H, W, 3) RGB or (H, W, 4) RGBA.
        palette: (N, 3) uint8 colours of the index values of an (H, W) array.
        fast: spend little time on making a PNG small, as for drawings over large photographs, in
            which there is little to compress but much to try.
        icc_profile: what the colours mean; without, they are taken for sRGB.

    Raises:
        OutputError: if the suffix is not an image's or the file cannot be written.
    """
    path = Path(path)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format not in Image.SAVE:
        raise OutputError(
            f"{path}: no image format is written with the suffix '{path.suffix}'.",
            "End the name in .png.",
        )
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette.astype(np.uint8).tobytes())
    options: dict[str, Any] = {"compress_level": 1} if fast else {}
    if icc_profile is not None:
        options["icc_profile"] = icc_profile
    with atomic_write(path) as temporary:
        image.save(temporary, format=file_format, **options)


def _grey_16_bit(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{path} has {'floating-point' if image.mode == 'F' else '32-bit'} pixels;"
            " 8 or 16 bits are needed.",
            "Scale its values to 0..255 and save it as PNG.",
        )
    largest = int(values.max())
    full = next((1 << bits) - 1 for bits in GREY_BITS if largest < 1 << bits)
    return ((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)


def _mask_from_wide_values(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    present = np.unique(values)
    if np.issubdtype(values.dtype, np.integer) and present[0] >= 0:
        if present[-1] <= 255:
            return values.astype(np.uint8)
        if present[-1] <= 65535 and not np.any(present % 257):
            return (values // 257).astype(np.uint8)
        if len(present) == 2 and present[0] == 0:
            return (values > 0).astype(np.uint8)
    raise AnnotationError(
        f"{name} has values from {present[0]} to {present[-1]}; a mask needs whole numbers from"
        " 0 to 255.",
        "Save it with 8 bits: 0 background, 1 object (or one number per label).",
    )


def _mask_from_transparency(
    rgba: NDArray[np.uint8], name: str, colours: Mapping[Colour, int] | None
) -> NDArray[np.uint8]:
    alpha = rgba[:, :, 3]
    is_cutout = np.array_equal(np.unique(alpha), (0, 255))
    try:
        values = _mask_from_colours(rgba[:, :, :3] * (rgba[:, :, 3:] > 0), name, colours)
    except AnnotationError:
        if is_cutout:
            return alpha.copy()
        raise
    # The colours of a grey photograph or of a black shape tell nothing.
    if is_cutout and (not values.any() or len(np.unique(values)) > MOST_LABELS + 1):
        return alpha.copy()
    return values


def _mask_from_colours(
    rgb: NDArray[np.uint8], name: str, colours: Mapping[Colour, int] | None
) -> NDArray[np.uint8]:
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    if colours:
        codes = {(r << 16) | (g << 8) | b: value for (r, g, b), value in colours.items()}
        present, inverse = np.unique(packed, return_inverse=True)
        if all(int(code) in codes for code in present):
            table = np.array([codes[int(code)] for code in present], np.uint8)
            return table[inverse].reshape(packed.shape)
    if np.array_equal(rgb[:, :, 0], rgb[:, :, 1]) and np.array_equal(rgb[:, :, 0], rgb[:, :, 2]):
        return rgb[:, :, 0].copy()
    objects = packed[packed > 0]
    if np.all(objects == objects[0]):
        return (packed > 0).astype(np.uint8)
    count = len(np.unique(packed))
    raise AnnotationError(
        f"{name} is a colour image with {count} colours, so it is not taken for a mask.",
        "Save the mask with one channel (or a palette): 0 background, 1 object. A mask painted"
        " with label colours needs a labelmap.txt with lines name:red,green,blue.",
    )
