"""``arnet infer``: a support folder and some photographs become masks, whatever computes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arnet.runtime.drawing import draw_classes, voc_palette
from arnet.runtime.errors import AnnotationError, ImageError
from arnet.runtime.figure import FigureRow, figure
from arnet.runtime.images import read_image, save_image
from arnet.runtime.learning import learn_class
from arnet.runtime.output import atomic_write
from arnet.runtime.output_folder import check_out
from arnet.runtime.results import ALONE, Result, Segment, VideoResult, write_results
from arnet.runtime.segmentation import (
    THRESHOLD,
    FewShotSegmenter,
    Segmentation,
    State,
    check_classes,
)
from arnet.runtime.supports import (
    UNNAMED,
    AnnotationUse,
    Support,
    read_support_classes,
    read_supports,
)

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


@dataclass(frozen=True)
class Learned(Generic[State]):
    """What is looked for, and where it comes from.

    Attributes:
        states: what the segmenter knows of each class.
        supports: the annotated photographs it was learned from; none if it was read from files.
        files: the files it was read from; none if it was learned.
        seconds: time that learning took.
        folders: the support folders that were given.
    """

    states: Mapping[str, State]
    supports: Mapping[str, Sequence[Support]]
    files: Mapping[str, Path]
    seconds: float = 0.0
    folders: Sequence[Path] = ()


def read_classes(
    folder: Path, labels: Sequence[str], annotation: AnnotationUse
) -> dict[str, list[Support]]:
    """Read the supports of the classes that are asked for.

    Args:
        folder: the support folder.
        labels: names of classes; none for the only one there is, "all" for all of them.
        annotation: "box" turns masks into boxes.

    Returns:
        The supports by class; a class without a name is called like the folder.

    Raises:
        AnnotationError: see ``read_supports``.
    """
    if ALL in labels:
        classes = read_support_classes(folder, annotation)
    elif labels:
        return {label: read_supports(folder, label, annotation) for label in dict.fromkeys(labels)}
    else:
        classes = {UNNAMED: read_supports(folder, None, annotation)}
    if list(classes) != [UNNAMED]:
        return classes
    (supports,) = classes.values()
    named = next((support.label for support in supports if support.label is not None), None)
    return {named or folder.resolve().name: supports}


def learn(
    segmenter: FewShotSegmenter[State],
    supports: Mapping[str, Sequence[Support]],
    folders: Sequence[Path] = (),
) -> Learned[State]:
    """Learn classes from annotated photographs.

    Args:
        segmenter: learns them.
        supports: the photographs by class.
        folders: the support folders that they were read from; no results are written there.

    Raises:
        AnnotationError: there is no class, there are more than a label map can hold, or the model
            would see nothing of an object.
    """
    check_classes(supports)
    started = time.perf_counter()
    states = {name: learn_class(segmenter, members) for name, members in supports.items()}
    return Learned(states, supports, {}, time.perf_counter() - started, folders)


def infer(
    segmenter: FewShotSegmenter[State],
    learned: Learned[State],
    queries: Sequence[Path],
    out: Path,
    outputs: Outputs = Outputs(),
    progress: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Segment photographs and write what was found.

    Writes ``<stem>_mask.png`` at the photograph's size (0 and 255, or with several classes 1, 2,
    ... with a palette; each is the ``value`` of a segment of the results), ``<stem>_overlay.png``
    and ``results.json``, and what ``outputs`` asks for.

    Args:
        segmenter: finds the classes.
        learned: what it learned.
        queries: photographs.
        out: folder to write to; made when absent.
        outputs: what is written besides.
        progress: called after each query.

    Returns:
        One result per query.

    Raises:
        AnnotationError: there are no classes or too many, or no supports for a figure.
        ImageError: a query cannot be read, or two have the same name.
        OutputError: the folder cannot be written to, or holds photographs of the input.
    """
    check_classes(learned.states)
    if outputs.figure and not learned.supports:
        raise AnnotationError(
            "a figure shows the supports, and a state does not hold them",
            "leave --figure out, or give the photographs with --support",
        )
    names = _output_names(queries)
    check_out(out, queries, learned.supports, learned.folders)
    # Every photograph is decoded once before anything is written: bad input leaves nothing behind.
    for path in queries:
        read_image(path)
    results = []
    for path, name in zip(queries, names, strict=True):
        began = time.perf_counter()
        image = read_image(path)
        read = time.perf_counter() - began
        segmentation = segmenter.segment(image, learned.states, parts=outputs.figure)
        labels = segmentation.labels()
        _write(out, name, image, learned.supports, segmentation, labels, outputs)
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
    write_learned_results(out / "results.json", results, segmenter, learned)
    return results


def write_learned_results(
    path: Path,
    results: Iterable[Result | VideoResult],
    segmenter: FewShotSegmenter[State],
    learned: Learned[State],
) -> None:
    """Write ``results.json``; see ``write_results``.

    Raises:
        OutputError: the file cannot be written.
    """
    model = {**segmenter.describe(), "learn_seconds": learned.seconds}
    write_results(path, results, learned.supports, model, learned.files)


def _segments(segmentation: Segmentation, labels: NDArray[np.uint8]) -> tuple[Segment, ...]:
    return tuple(
        Segment.from_mask(
            name,
            labels == number,
            masks.probability,
            ALONE if len(segmentation.classes) == 1 else number,
        )
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
        save_image(out / f"{name}_mask.png", np.where(labels == 1, ALONE, 0).astype(np.uint8))
    else:
        save_image(out / f"{name}_mask.png", labels, palette=voc_palette())
    drawn = draw_classes(image, labels, list(segmentation.classes))
    save_image(out / f"{name}_overlay.png", drawn, fast=True)
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
        save_image(out / f"{name}_figure.png", figure(rows), fast=True)


def _support_mask(probability: NDArray[np.float32], support: Support) -> NDArray[np.bool_]:
    """The re-predicted mask of a support at its photograph's size."""
    height, width = support.mask.shape
    large = Image.fromarray(probability).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large) > THRESHOLD


def _output_names(queries: Sequence[Path]) -> list[str]:
    """Stems of the queries; two photographs must not write over each other."""
    seen: dict[str, Path] = {}
    for path in queries:
        if path.stem in seen:
            first = seen[path.stem]
            hint = "segment them in two runs with their own --out"
            if path.parent == first.parent and path.suffix != first.suffix:
                # A folder of supports, mostly: the other one is a mask.
                kept = path if first.suffix.lower() == ".png" else first
                only = kept.with_name(f"*{kept.suffix}")
                hint = f"give those of one kind alone, by a pattern: --query '{only}'; or {hint}"
            raise ImageError(f"{first} and {path} would both write {path.stem}_mask.png", hint)
        seen[path.stem] = path
    return list(seen)
