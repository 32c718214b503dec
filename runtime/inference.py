"""``arnet infer``: a support folder and some photographs become masks, whatever computes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import AnnotationError, ImageError
from arnet.runtime.finding import Query
from arnet.runtime.images import read_image
from arnet.runtime.learning import learn_class
from arnet.runtime.outputs.coco import write_coco
from arnet.runtime.outputs.folder import check_out
from arnet.runtime.outputs.pictures import MASKS_AND_OVERLAYS, Outputs, check_names, write_pictures
from arnet.runtime.outputs.results import ALONE, Result, Segment, VideoResult, write_results
from arnet.runtime.segmentation import (
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
        return read_support_classes(folder, annotation, list(dict.fromkeys(labels)))
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


@dataclass(frozen=True)
class Unread:
    """A query that could not be read.

    Attributes:
        query: the photograph.
        error: what is wrong with it.
    """

    query: Query
    error: ImageError


def infer(
    segmenter: FewShotSegmenter[State],
    learned: Learned[State],
    queries: Sequence[Query],
    out: Path,
    outputs: Outputs = MASKS_AND_OVERLAYS,
    progress: Callable[[Result | Unread], None] = lambda done: None,
) -> list[Result | Unread]:
    """Segment photographs and write what was found.

    Writes ``NAME_mask.png`` at the photograph's size (0 and 255, or with several classes 1, 2,
    ... with a palette; each is the ``value`` of a segment of the results), ``NAME_overlay.png``
    and ``results.json``, and what ``outputs`` asks for. A photograph that cannot be read does not
    stop the others: it is named in ``results.json``, too.

    Args:
        segmenter: finds the classes.
        learned: what it learned.
        queries: photographs.
        out: folder to write to; made when absent.
        outputs: what is written besides.
        progress: called after each query.

    Returns:
        What became of each query.

    Raises:
        AnnotationError: there are no classes or too many, or no supports for a figure.
        ImageError: no query can be read, or two have the same name; nothing was written.
        OutputError: the folder cannot be written to, or holds photographs of the input.
    """
    check_classes(learned.states)
    if outputs.figure and not learned.supports:
        raise AnnotationError(
            "a figure shows the supports, and a state does not hold them",
            "leave --figure out, or give the photographs with --support",
        )
    check_names(queries)
    check_out(out, queries, learned.supports, learned.folders)
    done: list[Result | Unread] = []
    try:
        for query in queries:
            try:
                done.append(_infer_one(segmenter, learned, query, out, outputs))
            except ImageError as error:
                done.append(Unread(query, error))
            progress(done[-1])
    finally:
        # Also of a run that is stopped, what was written is told.
        results = [one for one in done if isinstance(one, Result)]
        unread = [one for one in done if isinstance(one, Unread)]
        if results:
            write_learned_results(out / "results.json", results, segmenter, learned, unread)
            if outputs.coco:
                write_coco(out / "annotations.json", results)
    if not results:
        raise _none_read(unread)
    return done


def _none_read(unread: Sequence[Unread]) -> ImageError:
    first = unread[0].error
    if len(unread) == 1:
        return first
    return ImageError(
        f"none of {len(unread)} photographs could be read: {first.message}", first.hint
    )


def _infer_one(
    segmenter: FewShotSegmenter[State],
    learned: Learned[State],
    query: Query,
    out: Path,
    outputs: Outputs,
) -> Result:
    began = time.perf_counter()
    image = read_image(query.path)
    read = time.perf_counter() - began
    segmentation = segmenter.segment(image, learned.states, parts=outputs.figure)
    labels = segmentation.labels()
    write_pictures(out, query, image, segmentation, labels, learned.supports, outputs)
    seconds = {"read": read, **segmentation.seconds, "total": time.perf_counter() - began}
    size = image.shape[0], image.shape[1]
    return Result(query.path, size, _segments(segmentation, labels), seconds, query.name)


def write_learned_results(
    path: Path,
    results: Iterable[Result | VideoResult],
    segmenter: FewShotSegmenter[State],
    learned: Learned[State],
    unread: Sequence[Unread] = (),
) -> None:
    """Write ``results.json``; see ``write_results``.

    Raises:
        OutputError: the file cannot be written.
    """
    model = {**segmenter.describe(), "learn_seconds": learned.seconds}
    errors = {one.query.path: one.error.message for one in unread}
    write_results(path, results, learned.supports, model, learned.files, errors)


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
