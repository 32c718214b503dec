"""Masks and boxes drawn over photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from arnet.runtime.annotations import component_boxes
from arnet.runtime.images import Colour
from arnet.runtime.supports import Support

# Okabe and Ito's colours, which stay apart for the common kinds of colour blindness.
CLASS_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
SUPPORT_COLOUR = CLASS_COLOURS[1]
PREDICTION_COLOUR = CLASS_COLOURS[5]

INK = (32, 32, 32)
WHITE = (255, 255, 255)


def voc_palette() -> NDArray[np.uint8]:
    """Return the palette of Pascal VOC: (256, 3) uint8, black at 0, cream at 255.

    The bits of the index are dealt out to red, green and blue in turn, highest bit first.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            if 3 * bit + channel < 8:
                palette[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(
                    np.uint8
                )
    return palette


def class_colour(index: int) -> Colour:
    """Return the colour of class ``index`` (from 1); after seven the VOC palette goes on."""
    if index <= len(CLASS_COLOURS):
        return CLASS_COLOURS[index - 1]
    red, green, blue = voc_palette()[index % 256].tolist()
    return red, green, blue


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[Any],
    colour: Colour = PREDICTION_COLOUR,
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """Tint the object and draw its contour, white outside and solid inside.

    Args:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W); 1 (or True) is object, everything else, 255 too, is left as it is.
        colour: RGB, 0..255.
        alpha: strength of the tint, 0..1. The contour is always solid.

    Returns:
        (H, W, 3) uint8.
    """
    inside = mask == 1
    drawn = image.copy()
    tinted = image[inside] * (1 - alpha) + np.array(colour) * alpha
    drawn[inside] = np.rint(tinted).astype(np.uint8)
    width = _line_width(inside.shape)
    drawn[_grow(inside, width) & ~inside] = WHITE
    drawn[inside & _grow(~inside, width)] = colour
    return drawn


def label_overlay(
    image: NDArray[np.uint8],
    label_map: NDArray[Any],
    names: Sequence[str] | Mapping[int, str],
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """Draw several classes, each in its colour, over a strip with the legend.

    Args:
        image: (H, W, 3) uint8, RGB.
        label_map: (H, W) integers, 0 background, 255 ignored, else the class.
        names: of classes 1, 2, ... in order, or by class number; all stand in the legend.
        alpha: strength of the tint, 0..1.

    Returns:
        (H + strip, max(W, longest entry), 3) uint8. The strip lies below so that it hides nothing.
    """
    by_number = names if isinstance(names, Mapping) else dict(enumerate(names, start=1))
    drawn = image
    for number in sorted(set(np.unique(label_map).tolist()) - {0, 255}):
        drawn = overlay(drawn, label_map == number, class_colour(number), alpha)
    return _with_legend(drawn, by_number) if by_number else drawn.copy()


def outline_boxes(
    image: NDArray[np.uint8], mask: NDArray[Any], colour: Colour = SUPPORT_COLOUR
) -> NDArray[np.uint8]:
    """Draw the box around each connected component of a mask.

    Args:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W); 1 is object.
        colour: RGB, 0..255.

    Returns:
        (H, W, 3) uint8.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    width = 2 * _line_width(mask.shape)
    for x1, y1, x2, y2 in component_boxes(mask)[0].tolist():
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=width)
    return np.array(canvas)


def draw_support(support: Support) -> NDArray[np.uint8]:
    """Draw a support with its annotation: tinted if it is a mask, outlined if it is boxes."""
    if support.kind == "box":
        return outline_boxes(support.image, support.mask)
    return overlay(support.image, support.mask, SUPPORT_COLOUR)


def _line_width(shape: tuple[int, ...]) -> int:
    return max(1, round(min(shape[:2]) / 130))


def _grow(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilate by a square, one axis after the other; running sums make any radius cost the same."""
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(mask, padding), axis=axis, dtype=np.int32)
        length = mask.shape[axis]
        ahead = np.take(sums, np.arange(length) + 2 * radius + 1, axis=axis)
        mask = ahead > np.take(sums, np.arange(length), axis=axis)
    return mask


def _with_legend(image: NDArray[np.uint8], names: Mapping[int, str]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size = int(np.clip(min(height, width) // 20, 11, 48))
    font = ImageFont.load_default(size=size)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    entries = [
        (n, name, 3 * size + int(measure.textlength(name, font))) for n, name in names.items()
    ]
    width = max(width, *(length + size for _, _, length in entries))
    places = []
    x, y = size, height + size // 2
    for number, name, length in entries:
        if x > size and x + length > width:
            x, y = size, y + size * 3 // 2
        places.append((x, y, number, name))
        x += length
    canvas = Image.new("RGB", (width, y + size * 2), WHITE)
    canvas.paste(Image.fromarray(image), ((width - image.shape[1]) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for x, y, number, name in places:
        draw.rectangle((x, y, x + size, y + size), class_colour(number), INK)
        draw.text((x + size * 3 // 2, y + size // 2), name, INK, font, anchor="lm")
    return np.array(canvas)
