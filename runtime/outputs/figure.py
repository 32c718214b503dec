"""Pictures side by side: the figure of the paper, from supports to the refined mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from arnet.runtime.outputs.drawing import INK, SUPPORT_COLOUR, WHITE, draw_support, overlay
from arnet.runtime.supports import Support


@dataclass(frozen=True)
class Cell:
    """A picture of a grid with its caption.

    Attributes:
        image: (H, W, 3) uint8, RGB, of any size.
        caption: one line below it; cut to the cell's width with an ellipsis.
    """

    image: NDArray[np.uint8]
    caption: str = ""


def grid(cells: Sequence[Sequence[Cell | None]], cell_size: int = 240) -> NDArray[np.uint8]:
    """Lay out pictures in rows on white.

    Args:
        cells: the rows; None leaves a place empty, and rows may differ in length.
        cell_size: longest side of a picture, in pixels; smaller ones are enlarged to it.

    Returns:
        (H, W, 3) uint8, RGB. A row is as high as its highest picture; all stand on its lower edge.
    """
    gap = max(4, cell_size // 20)
    text_size = max(10, cell_size // 15)
    font = ImageFont.load_default(size=text_size)
    columns = max((len(row) for row in cells), default=0)
    captions = any(cell and cell.caption for row in cells for cell in row)
    line = text_size * 3 // 2 if captions else 0
    fitted = [[_fit(cell.image, cell_size) if cell else None for cell in row] for row in cells]
    heights = [max((image.height for image in row if image), default=0) for row in fitted]
    canvas = Image.new(
        "RGB",
        (columns * (cell_size + gap) + gap, sum(heights) + len(cells) * (line + gap) + gap),
        WHITE,
    )
    draw = ImageDraw.Draw(canvas)
    top = gap
    for row, images, height in zip(cells, fitted, heights, strict=True):
        for column, (cell, image) in enumerate(zip(row, images, strict=True)):
            if cell is None or image is None:
                continue
            centre = gap + column * (cell_size + gap) + cell_size // 2
            canvas.paste(image, (centre - image.width // 2, top + height - image.height))
            caption = _shorten(cell.caption, cell_size, draw, font)
            draw.text((centre, top + height + gap // 4), caption, INK, font, anchor="ma")
        top += height + line + gap
    return np.array(canvas)


@dataclass(frozen=True)
class FigureRow:
    """One query with its supports and what the steps of the network made of it.

    Attributes:
        supports: the annotated supports.
        query: (H, W, 3) uint8, RGB.
        q1: (H, W) mask of the query after the first step, None where the step is left out.
        s: mask of each support as predicted from the query, at that support's size, or None.
        q2: (H, W) the final mask of the query.
        name: the class, for the captions.
        truth: (H, W), 1 where the query is labelled, drawn in the colour of the supports; or None.
    """

    supports: Sequence[Support]
    query: NDArray[np.uint8]
    q1: NDArray[Any] | None
    s: Sequence[NDArray[Any]] | None
    q2: NDArray[Any]
    name: str = ""
    truth: NDArray[Any] | None = None


def figure(rows: Sequence[FigureRow], cell_size: int = 240) -> NDArray[np.uint8]:
    """Draw supports, query, q1, s and q2, as in Fig. 6 of the paper.

    One support makes one line: support, query, q1, s, q2. Several make two: the supports and the
    query, and below them each support re-predicted, q1 and q2.

    Args:
        rows: one per query.
        cell_size: longest side of a picture, in pixels.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    return grid([line for row in rows for line in _figure_lines(row)], cell_size)


def _figure_lines(row: FigureRow) -> list[list[Cell | None]]:
    one = len(row.supports) == 1
    given: list[Cell | None] = []
    predicted: list[Cell | None] = []
    for index, support in enumerate(row.supports):
        number = "" if one else f" {index + 1}"
        given.append(
            Cell(draw_support(support), f"support{number}" + (f": {row.name}" if row.name else ""))
        )
        s = None if row.s is None else overlay(support.image, row.s[index])
        predicted.append(None if s is None else Cell(s, f"s: support{number}, re-predicted"))
    query = Cell(row.query, "query")
    if row.truth is not None:
        query = Cell(overlay(row.query, row.truth, SUPPORT_COLOUR), "query, as labelled")
    q1 = None if row.q1 is None else Cell(overlay(row.query, row.q1), "q1: first mask")
    q2 = Cell(overlay(row.query, row.q2), "q2: refined mask")
    if one:
        return [[*given, query, q1, *predicted, q2]]
    return [[*given, query], [*predicted, q1, q2]]


def _fit(image: NDArray[np.uint8], cell_size: int) -> Image.Image:
    height, width = image.shape[:2]
    scale = cell_size / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)


def _shorten(
    text: str,
    width: int,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
