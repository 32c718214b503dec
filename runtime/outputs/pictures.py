"""What ``arnet infer`` writes of a photograph: its mask, an overlay, and what else is wanted."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arnet.runtime.errors import ImageError
from arnet.runtime.files import atomic_write
from arnet.runtime.finding import Query
from arnet.runtime.images import icc_profile, save_image
from arnet.runtime.outputs.drawing import cutout, draw_classes, voc_palette
from arnet.runtime.outputs.figure import FigureRow, figure
from arnet.runtime.outputs.results import ALONE
from arnet.runtime.segmentation import THRESHOLD, Segmentation
from arnet.runtime.supports import Support


@dataclass(frozen=True)
class Outputs:
    """What is written beside the masks and the overlays.

    Attributes:
        probabilities: the foreground probability as float16 .npy, (H, W), or (classes, H, W) in
            the order of results.json.
        figure: the grid of supports, query, q1, s and q2 (Fig. 6 of the paper).
        cutout: the photograph as PNG, transparent where nothing was found.
        coco: annotations.json, a COCO file for all photographs.
    """

    probabilities: bool = False
    figure: bool = False
    cutout: bool = False
    coco: bool = False


MASKS_AND_OVERLAYS = Outputs()
"""What is always written."""


def check_names(queries: Sequence[Query]) -> None:
    """Two photographs must not write over each other.

    Raises:
        ImageError: two have the same name.
    """
    seen: dict[str, Path] = {}
    for query in queries:
        path, first = query.path, seen.setdefault(query.name, query.path)
        if first is path:
            continue
        hint = "segment them in two runs with their own --out"
        above = path.absolute().parent.parent
        if path.parent != first.parent and above == first.absolute().parent.parent:
            pattern = f"{glob.escape(str(above))}/*/*{path.suffix}"
            hint += f", or both by one pattern, which keeps their folders: --query '{pattern}'"
        if path.parent == first.parent and path.suffix != first.suffix:
            # A folder of supports, mostly: the other one is a mask.
            kept = path if first.suffix.lower() == ".png" else first
            only = kept.with_name(f"*{kept.suffix}")
            hint = f"give those of one kind alone, by a pattern: --query '{only}'; or {hint}"
        raise ImageError(f"{first} and {path} would both write {query.name}_mask.png", hint)


def write_pictures(
    out: Path,
    query: Query,
    image: NDArray[np.uint8],
    segmentation: Segmentation,
    labels: NDArray[np.uint8],
    supports: Mapping[str, Sequence[Support]],
    outputs: Outputs,
) -> None:
    """Write what was found in a photograph.

    Args:
        out: folder to write to; made when absent, and so are those in the query's name.
        query: the photograph.
        image: its pixels, (H, W, 3) uint8, RGB.
        segmentation: what was found.
        labels: its label map, (H, W).
        supports: by class, those that a figure shows.
        outputs: what is written beside ``_mask.png`` and ``_overlay.png``.

    Raises:
        OutputError: a file cannot be written.
    """
    name = query.name
    save_mask(out / f"{name}_mask.png", labels, len(segmentation.classes))
    drawn = draw_classes(image, labels, list(segmentation.classes))
    save_image(out / f"{name}_overlay.png", drawn, fast=True)
    if outputs.cutout:
        cut, profile = cutout(image, labels), icc_profile(query.path)
        save_image(out / f"{name}_cutout.png", cut, fast=True, icc_profile=profile)
    if outputs.probabilities:
        maps = [masks.probability.astype(np.float16) for masks in segmentation.classes.values()]
        with atomic_write(out / f"{name}_prob.npy") as temporary, temporary.open("wb") as file:
            np.save(file, maps[0] if len(maps) == 1 else np.stack(maps), allow_pickle=False)
    if outputs.figure:
        rows = _figure_rows(image, segmentation, supports)
        save_image(out / f"{name}_figure.png", figure(rows), fast=True)


def save_mask(path: Path, labels: NDArray[np.uint8], classes: int) -> None:
    """Write a label map: 0 and 255 of a single class, 0, 1, 2, ... with a palette of several.

    Raises:
        OutputError: the file cannot be written.
    """
    if classes == 1:
        save_image(path, np.where(labels == 1, ALONE, 0).astype(np.uint8))
    else:
        save_image(path, labels, palette=voc_palette())


def _figure_rows(
    image: NDArray[np.uint8],
    segmentation: Segmentation,
    supports: Mapping[str, Sequence[Support]],
) -> list[FigureRow]:
    return [
        FigureRow(
            members,
            image,
            None if masks.first is None else masks.first > THRESHOLD,
            None
            if masks.supports is None
            else [_support_mask(s, m) for s, m in zip(masks.supports, members, strict=True)],
            masks.probability > THRESHOLD,
            label,
        )
        for (label, masks), members in zip(
            segmentation.classes.items(), supports.values(), strict=True
        )
    ]


def _support_mask(probability: NDArray[np.float32], support: Support) -> NDArray[np.bool_]:
    """The re-predicted mask of a support at its photograph's size."""
    height, width = support.mask.shape
    large = Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large) > THRESHOLD
