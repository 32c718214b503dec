"""``arnet infer``: a support folder and some photographs become masks, whatever computes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arnet.runtime.drawing import label_overlay, overlay, voc_palette
from arnet.runtime.errors import ImageError, OutputError
from arnet.runtime.figure import FigureRow, figure
from arnet.runtime.images import read_image, save_image
from arnet.runtime.output import atomic_write
from arnet.runtime.results import Result, Segment, write_results
from arnet.runtime.segmentation import THRESHOLD, Segmentation, Segmenter
from arnet.runtime.supports import AnnotationUse, Support, read_support_classes, read_supports

ALL = "all"
"""The label that stands for every class of the support folder."""


@dataclass(frozen=True)
class Outputs:
    """What is written beside the masks and the overlays.

    Attributes:
        probabilities: the foreground probability as float16 .npy, (H, W), or (classes, H, W) in
            the order of results.json.
        figure: the grid of supports, query, q1, s and q2 (Fig. 6 of the paper).
    """

    probabilities: bool = False
    figure: bool = False


def read_classes(
    folder: Path, labels: Sequence[str], annotation: AnnotationUse
) -> dict[str, list[Support]]:
    """Read the supports of the classes that are asked for.

    Args:
        folder: the support folder.
        labels: names of classes; none for the only one there is, "all" for all of them.
        annotation: "box" turns masks into boxes.

    Raises:
        AnnotationError: see ``read_supports``.
    """
    if ALL in labels:
        return read_support_classes(folder, annotation)
    if not labels:
        supports = read_supports(folder, None, annotation)
        return {supports[0].label or folder.resolve().name: supports}
    return {label: read_supports(folder, label, annotation) for label in dict.fromkeys(labels)}


def infer(
    segmenter: Segmenter[Any],
    supports: Mapping[str, Sequence[Support]],
    queries: Sequence[Path],
    out: Path,
    outputs: Outputs = Outputs(),
    progress: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Segment photographs and write what was found.

    Writes ``<stem>_mask.png`` (0 and 255, or class numbers with a palette, at the photograph's
    size), ``<stem>_overlay.png`` and ``results.json``, and what ``outputs`` asks for.

    Args:
        segmenter: learns and segments.
        supports: annotated photographs of each class.
        queries: photographs.
        out: folder to write to; made when absent.
        outputs: what is written besides.
        progress: called after each query.

    Returns:
        One result per query.

    Raises:
        ImageError: a query cannot be read, or two have the same name.
        OutputError: the folder cannot be written to, or holds photographs of the input.
    """
    names = _output_names(queries)
    _check_out(out, [*queries, *(s.path for members in supports.values() for s in members)])
    # Every photograph is decoded once before anything is written: bad input leaves nothing behind.
    for path in queries:
        read_image(path)
    started = time.perf_counter()
    states = {
        name: segmenter.learn([s.image for s in members], [s.mask for s in members])
        for name, members in supports.items()
    }
    learning = time.perf_counter() - started
    results = []
    for path, name in zip(queries, names, strict=True):
        began = time.perf_counter()
        image = read_image(path)
        read = time.perf_counter() - began
        segmentation = segmenter.segment(image, states)
        labels = segmentation.labels()
        _write(out, name, image, supports, segmentation, labels, outputs)
        result = Result(
            path,
            (image.shape[0], image.shape[1]),
            _segments(segmentation, labels),
            {
                "read": read,
                **segmentation.seconds,
                "total": time.perf_counter() - began,
            },
        )
        results.append(result)
        progress(result)
    write_results(
        out / "results.json", results, supports, {**segmenter.describe(), "learn_seconds": learning}
    )
    return results


def _segments(segmentation: Segmentation, labels: NDArray[np.uint8]) -> tuple[Segment, ...]:
    return tuple(
        Segment.from_mask(name, labels == number, masks.probability)
        for number, (name, masks) in enumerate(segmentation.classes.items(), start=1)
    )


def _write(
    out: Path,
    name: str,
    image: NDArray[np.uint8],
    supports: Mapping[str, Sequence[Support]],
    segmentation: Segmentation,
    labels: NDArray[np.uint8],
    outputs: Outputs,
) -> None:
    if len(segmentation.classes) == 1:
        save_image(out / f"{name}_mask.png", np.where(labels == 1, 255, 0).astype(np.uint8))
        drawn = overlay(image, labels)
    else:
        save_image(out / f"{name}_mask.png", labels, palette=voc_palette())
        drawn = label_overlay(image, labels, list(segmentation.classes))
    save_image(out / f"{name}_overlay.png", drawn)
    if outputs.probabilities:
        maps = [masks.probability.astype(np.float16) for masks in segmentation.classes.values()]
        with atomic_write(out / f"{name}_prob.npy") as temporary, temporary.open("wb") as file:
            np.save(file, maps[0] if len(maps) == 1 else np.stack(maps), allow_pickle=False)
    if outputs.figure:
        rows = [
            FigureRow(
                supports[label],
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
        save_image(out / f"{name}_figure.png", figure(rows))


def _support_mask(probability: NDArray[np.float32], support: Support) -> NDArray[np.bool_]:
    """The re-predicted mask of a support at its photograph's size."""
    height, width = support.mask.shape
    large = Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large) > THRESHOLD


def _check_out(out: Path, inputs: Sequence[Path]) -> None:
    """Results never lie among the photographs: a mask there would be taken for an annotation."""
    for path in inputs:
        folder = path.resolve().parent
        if out.resolve() in (folder, folder / "masks", folder.parent / "masks"):
            raise OutputError(
                f"the results would lie among the photographs and masks in {out}",
                "choose another --out",
            )


def _output_names(queries: Sequence[Path]) -> list[str]:
    """Stems of the queries; two photographs must not write over each other."""
    seen: dict[str, Path] = {}
    for path in queries:
        if path.stem in seen:
            raise ImageError(
                f"{seen[path.stem]} and {path} would both write {path.stem}_mask.png",
                "segment them in two runs with their own --out",
            )
        seen[path.stem] = path
    return list(seen)
