"""Masks and boxes drawn over photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    return _paint(image, mask == 1, lambda _: colour, alpha)


def label_overlay(
    image: NDArray[np.uint8],
    label_map: NDArray[Any],
    names: Sequence[str] | Mapping[int, str],
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """Draw several classes, each in its colour, over a strip with the legend.

    Args:
        image: (H, W, 3) uint8, RGB.
        label_map: (H, W) integers, 0 background, 255 ignored, else the class; none is negative.
        names: of classes 1, 2, ... in order, or by class number; all stand in the legend.
        alpha: strength of the tint, 0..1.

    Returns:
        (H + strip, max(W, longest entry), 3) uint8. The strip lies below so that it hides nothing.
    """
    by_number = names if isinstance(names, Mapping) else dict(enumerate(names, start=1))
    drawn = _paint(image, label_map, class_colour, alpha)
    return _with_legend(drawn, by_number) if by_number else drawn


def draw_classes(
    image: NDArray[np.uint8], label_map: NDArray[np.uint8], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Draw what was found: one class without a legend, several with one.

    Args:
        image: (H, W, 3) uint8, RGB.
        label_map: (H, W), 0 background, i + 1 the i-th class.
        names: of the classes, in order.

    Returns:
        See ``overlay`` and ``label_overlay``.
    """
    if len(names) == 1:
        return overlay(image, label_map)
    return label_overlay(image, label_map, names)


def cutout(image: NDArray[np.uint8], label_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut what was found out of a photograph.

    Args:
        image: (H, W, 3) uint8, RGB.
        label_map: (H, W), 0 background, anything else a class.

    Returns:
        (H, W, 4) uint8, RGBA: opaque on the classes, elsewhere transparent and black, so that the
        background is nowhere in the file.
    """
    cut = np.zeros((*label_map.shape, 4), np.uint8)
    found = label_map > 0
    np.copyto(cut[..., :3], image, where=found[..., None])
    cut[..., 3][found] = 255
    return cut


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


def _paint(
    image: NDArray[np.uint8],
    label_map: NDArray[Any],
    colour_of: Callable[[int], Colour],
    alpha: float,
) -> NDArray[np.uint8]:
    """Draw the classes, one over the other, into a copy of a photograph.

    It works in strips: what is needed besides the copy fits into the cache, however large the
    photograph is.
    """
    drawn = image.copy()
    width = _line_width(label_map.shape)
    height = max(128, 4 * width)
    for top in range(0, len(drawn), height):
        # A contour reaches into the strip from the rows above and below it.
        first = max(0, top - width)
        near = label_map[first : top + height + width]
        strip = slice(top - first, top - first + min(height, len(drawn) - top))
        for number in np.flatnonzero(np.bincount(near.ravel())).tolist():
            if number not in (0, 255):
                tables = _tables(colour_of(number), alpha)
                _paint_strip(drawn[top : top + height], near == number, strip, width, tables)
    return drawn


def _paint_strip(
    drawn: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    strip: slice,
    width: int,
    tables: NDArray[np.uint8],
) -> None:
    """Paint one class into a strip, in place.

    Args:
        drawn: (h, W, 3), the strip.
        mask: (h', W), the class in the strip and in the rows around it.
        strip: the rows of ``mask`` that are the strip.
        width: of the lines.
        tables: see ``_tables``.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    left, right = max(0, int(columns[0]) - width), int(columns[-1]) + 1 + width
    mask, drawn = mask[:, left:right], drawn[:, left:right]
    outside = ~mask
    near_inside, near_outside = _grow(mask, width)[strip], _grow(outside, width)[strip]
    inside, outside = mask[strip], outside[strip]
    row = inside.astype(np.uint16)  # of the table: 1 tint, 2 colour, 3 white
    row[inside & near_outside] = 2
    row[outside & near_inside] = 3
    row *= 256
    for channel, table in enumerate(tables):
        drawn[:, :, channel] = table[row + drawn[:, :, channel]]


def _tables(colour: Colour, alpha: float) -> NDArray[np.uint8]:
    """What becomes of each level of red, green and blue: (3, 4 * 256).

    The rows of 256 are: left alone, tinted, the colour itself, white.
    """
    levels = np.arange(256)
    tables = np.empty((3, 4, 256), np.uint8)
    for table, value in zip(tables, colour, strict=True):
        table[0] = levels
        table[1] = np.rint(levels * (1 - alpha) + value * alpha)
        table[2] = value
        table[3] = 255
    return tables.reshape(3, -1)


def _grow(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilate by a square: along each axis the reach doubles until it is the square's side."""
    for _ in range(2):
        grown = np.pad(mask, ((radius, radius), (0, 0)))
        reach = 1  # a pixel tells of itself and of the reach - 1 below it
        while reach <= 2 * radius:
            step = min(reach, 2 * radius + 1 - reach)
            grown = grown[:-step] | grown[step:]
            reach += step
        mask = grown.T
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
    x, y = size, size // 2
    for number, name, length in entries:
        if x > size and x + length > width:
            x, y = size, y + size * 3 // 2
        places.append((x, y, number, name))
        x += length
    legend = Image.new("RGB", (width, y + size * 2), WHITE)
    draw = ImageDraw.Draw(legend)
    for x, y, number, name in places:
        draw.rectangle((x, y, x + size, y + size), class_colour(number), INK)
        draw.text((x + size * 3 // 2, y + size // 2), name, INK, font, anchor="lm")
    canvas = np.full((height + legend.height, width, 3), 255, np.uint8)
    left = (width - image.shape[1]) // 2
    canvas[:height, left : left + image.shape[1]] = image
    canvas[height:] = np.asarray(legend)
    return canvas
