"""What ``arnet infer`` found, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.annotations import encode_rle
from arnet.runtime.files import write_json
from arnet.runtime.supports import Support
from arnet.version import __version__

SCHEMA_VERSION = 1
"""Goes up where a reader of an older version would misread; what is added leaves it as it is."""

ALONE = 255
"""The value of the object in the mask of a single class: white, so that it can be seen."""


@dataclass(frozen=True)
class Segment:
    """One class in one query.

    Attributes:
        label: name of the class.
        area: pixels of the mask.
        score: mean foreground probability inside the mask, 0..1; None if it is empty or no
            probabilities were given.
        bbox: x, y, width, height in pixels of the tight box; None if the mask is empty.
        rle: the mask as compressed COCO RLE, ``{"size": [H, W], "counts": text}``.
        value: of its pixels in ``NAME_mask.png``: 255 of a single class, 1, 2, ... of several.
    """

    label: str
    area: int
    score: float | None
    bbox: tuple[int, int, int, int] | None
    rle: dict[str, Any]
    value: int = ALONE

    @staticmethod
    def from_mask(
        label: str,
        mask: NDArray[Any],
        probability: NDArray[Any] | None = None,
        value: int = ALONE,
    ) -> Segment:
        """Measure a mask.

        Args:
            label: name of the class.
            mask: (H, W); 1 (or True) is object.
            probability: (H, W) foreground probability, 0..1.
            value: of its pixels in the mask that is written.

        Returns:
            The segment.

        Raises:
            ValueError: if mask and probability differ in size.
        """
        inside = mask == 1
        area = int(inside.sum())
        score = None
        if probability is not None:
            if probability.shape != mask.shape:
                raise ValueError(f"mask {mask.shape} and probability {probability.shape} differ")
            # Half-precision sums of many pixels lose digits.
            score = float(probability[inside].mean(dtype=np.float64)) if area else None
        bbox = None
        if area:
            rows = np.flatnonzero(inside.any(axis=1))
            columns = np.flatnonzero(inside.any(axis=0))
            x, y = int(columns[0]), int(rows[0])
            bbox = (x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)
        return Segment(label, area, score, bbox, encode_rle(inside), value)


@dataclass(frozen=True)
class Result:
    """One query.

    Attributes:
        path: the photograph.
        size: its (H, W), upright.
        segments: one per class, also for classes that were not found (area 0).
        seconds: time of each stage, by its name.
        name: what the names of the files that were written of it begin with, below the folder of
            ``results.json``; None if none were.
    """

    path: Path
    size: tuple[int, int]
    segments: tuple[Segment, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True)
class VideoResult:
    """One video.

    Attributes:
        path: the video.
        size: the (H, W) of its frames, upright.
        times: when each frame is shown, in seconds.
        areas: pixels of each class in each frame.
        seconds: mean time of each stage per frame, by its name; "total" has reading, drawing and
            writing in it.
        notes: what was left out and why, a sentence each.
        masks: folder of the masks of the frames; None if they were not written.
    """

    path: Path
    size: tuple[int, int]
    times: tuple[float, ...]
    areas: Mapping[str, tuple[int, ...]]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    masks: Path | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def values(self) -> dict[str, int]:
        """What the pixels of each class have in the masks of the frames: see ``Segment.value``."""
        several = len(self.areas) > 1
        return {name: n if several else ALONE for n, name in enumerate(self.areas, start=1)}

    @property
    def mean_areas(self) -> dict[str, float]:
        """Mean area of each class over the frames, in pixels."""
        return {name: float(np.mean(found)) for name, found in self.areas.items()}


def write_results(
    path: str | Path,
    results: Iterable[Result | VideoResult],
    supports: Mapping[str, Sequence[Support]],
    model: Mapping[str, Any],
    states: Mapping[str, Path] = {},
    unread: Mapping[Path, str] = {},
) -> None:
    """Write ``results.json``, whole or not at all.

    Args:
        path: the file to write.
        results: one per query, or that of a video.
        supports: those that were used, by class.
        model: what computed them, its sha256 among the rest.
        states: the files of the states that were used instead of supports, by class.
        unread: what is wrong with photographs that could not be read.

    Raises:
        OutputError: if the file cannot be written.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "producer": f"arnet {__version__}",
        "model": dict(model),
        "supports": [
            {
                "class": name,
                "path": support.path,
                "kind": support.kind,
                "label": support.label,
                "source": support.source,
            }
            for name, members in supports.items()
            for support in members
        ],
        "results": [
            _plain(result) if isinstance(result, Result) else _plain_video(result)
            for result in results
        ],
    }
    if states:
        document["states"] = [{"class": name, "path": file} for name, file in states.items()]
    if unread:
        document["unread"] = [{"path": file, "error": error} for file, error in unread.items()]
    write_json(path, document)


def _plain(result: Result) -> dict[str, Any]:
    return {
        "path": result.path,
        **({} if result.name is None else {"mask": f"{result.name}_mask.png"}),
        "width": result.size[1],
        "height": result.size[0],
        "segments": [
            {
                "label": segment.label,
                "value": segment.value,
                "area": segment.area,
                "score": segment.score,
                "bbox": segment.bbox,
                "rle": segment.rle,
            }
            for segment in result.segments
        ],
        "seconds": dict(result.seconds),
    }


def _plain_video(result: VideoResult) -> dict[str, Any]:
    return {
        "path": result.path,
        "width": result.size[1],
        "height": result.size[0],
        "frames": result.frames,
        "times": list(result.times),
        **({} if result.masks is None else {"masks": result.masks.name}),
        "segments": [
            {
                "label": name,
                "value": result.values[name],
                "mean_area": mean,
                "areas": list(result.areas[name]),
            }
            for name, mean in result.mean_areas.items()
        ],
        "seconds": dict(result.seconds),
        "notes": list(result.notes),
    }
