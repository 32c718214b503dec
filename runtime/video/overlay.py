"""A video becomes the same video with what was found drawn over it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.files import atomic_write
from arnet.runtime.inference import Learned, write_learned_results
from arnet.runtime.outputs.drawing import draw_classes
from arnet.runtime.outputs.folder import check_out
from arnet.runtime.outputs.pictures import save_mask
from arnet.runtime.outputs.results import VideoResult
from arnet.runtime.segmentation import FewShotSegmenter, State, check_classes
from arnet.runtime.streams import LabelMap, label_maps
from arnet.runtime.video.reader import Frame, VideoReader
from arnet.runtime.video.writer import VideoWriter


def _silent(done: int, total: int | None) -> None:
    pass


def segment_video(
    segmenter: FewShotSegmenter[State],
    states: Mapping[str, State],
    path: str | Path,
    out: str | Path,
    progress: Callable[[int, int | None], None] = _silent,
    masks: Path | None = None,
) -> VideoResult:
    """Segment every frame of a video and write it with the masks drawn over.

    One frame is held at a time, two where a GPU works on the next one. A video that breaks off or
    has damaged packets gives what can be read, and ``notes`` of the result says so.

    Args:
        segmenter: finds the classes.
        states: what it learned, by class; several are drawn in a colour each, above a legend.
        path: the video.
        out: the MP4 to write, whole or not at all.
        progress: called after each frame with the number done and of all, None if not known.
        masks: folder for the mask of each frame, 00000.png and so on, see ``save_mask``; None
            writes none. What a longer video left there is removed.

    Returns:
        Number of frames, areas of each class and times.

    Raises:
        ImageError: the video cannot be read at all.
        AnnotationError: there is no class, or there are more than a label map can hold.
        OutputError: the file cannot be written.
        MissingDependencyError: PyAV is not installed.
    """
    path, out = Path(path), Path(out)
    check_classes(states)
    started = time.perf_counter()
    times: list[float] = []
    areas: list[list[int]] = []
    seconds: dict[str, float] = {}
    with VideoReader(path) as reader:
        overlays = _overlays(segmenter, states, iter(reader))
        first = next(overlays)  # what goes wrong with it leaves nothing behind
        size = first.drawn.shape[0], first.drawn.shape[1]
        with (
            atomic_write(out) as temporary,
            VideoWriter(
                temporary, size, reader.rate, reader.time_base, path, reader.aspect, out
            ) as writer,
        ):
            for overlay in chain([first], overlays):
                writer.write(overlay.drawn, overlay.time)
                if masks is not None:
                    save_mask(masks / f"{len(times):05}.png", overlay.labels, len(states))
                times.append(round(float(overlay.time), 6))
                areas.append(overlay.areas)
                for part, spent in overlay.seconds.items():
                    seconds[part] = seconds.get(part, 0.0) + spent
                progress(len(times), reader.length)
    if masks is not None:
        _remove_from(masks, len(times))
    seconds["total"] = time.perf_counter() - started
    return VideoResult(
        path,
        (first.labels.shape[0], first.labels.shape[1]),
        tuple(times),
        dict(zip(states, zip(*areas, strict=True), strict=True)),
        {part: spent / len(times) for part, spent in seconds.items()},
        (*reader.damage, *([writer.left_out] if writer.left_out else [])),
        masks,
    )


@dataclass(frozen=True)
class _Overlay:
    """A frame with what was found: the picture, the labels, the classes' areas, and seconds."""

    drawn: NDArray[np.uint8]
    time: Fraction
    labels: NDArray[np.uint8]
    areas: list[int]
    seconds: Mapping[str, float]


def _overlays(
    segmenter: FewShotSegmenter[State], states: Mapping[str, State], frames: Iterator[Frame]
) -> Iterator[_Overlay]:
    taken: deque[Frame] = deque()

    def images() -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            taken.append(frame)
            yield frame.image

    for found in label_maps(segmenter, images(), states):
        yield _overlay(taken.popleft(), found, list(states))


def _overlay(frame: Frame, found: LabelMap, names: list[str]) -> _Overlay:
    labels = found.labels
    return _Overlay(
        draw_classes(frame.image, labels, names),
        frame.time,
        labels,
        np.bincount(labels.ravel(), minlength=len(names) + 1)[1:].tolist(),
        found.seconds,
    )


def _remove_from(masks: Path, number: int) -> None:
    """Remove the masks that a longer video left, and nothing else: they have no gap."""
    while (path := masks / f"{number:05}.png").is_file():
        path.unlink()
        number += 1


def infer_video(
    segmenter: FewShotSegmenter[State],
    learned: Learned[State],
    path: Path,
    out: Path,
    progress: Callable[[int, int | None], None] = _silent,
    masks: bool = False,
) -> VideoResult:
    """Segment a video; write ``<stem>_overlay.mp4`` and ``results.json``.

    Args:
        segmenter: finds the classes.
        learned: what it learned.
        path: the video.
        out: folder to write to; made when absent.
        progress: as for ``segment_video``.
        masks: also write the mask of each frame, ``<stem>_masks/00000.png`` and so on.

    Raises:
        ArnetError: as ``segment_video``; the folder holds photographs of the input.
    """
    check_out(out, [], learned.supports, learned.folders)
    result = segment_video(
        segmenter,
        learned.states,
        path,
        out / f"{path.stem}_overlay.mp4",
        progress,
        out / f"{path.stem}_masks" if masks else None,
    )
    write_learned_results(out / "results.json", [result], segmenter, learned)
    return result
