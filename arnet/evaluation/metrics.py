"""mIoU and binary IoU of few-shot segmentation: sums over episodes, then ratios.

Per class, the summed intersection over the summed union of the foreground; mIoU is the mean over
the fold's classes. Binary IoU (FB-IoU) is the mean of foreground and background IoU pooled over
all episodes, whatever their class. It is never the mean of the episodes' own IoU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.annotations.common import IGNORE

Border = Literal["ignore", "background"]


class IoUMeter:
    """Adds up episodes."""

    def __init__(self, classes: Iterable[int], border: Border = "ignore") -> None:
        self.border = border
        self.foreground = {class_id: np.zeros(2, dtype=np.int64) for class_id in classes}
        self.background = np.zeros(2, dtype=np.int64)

    def update(
        self, class_id: int, prediction: NDArray[np.bool_], label: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        """Add one mask.

        Args:
            class_id: class of the episode.
            prediction: (H, W), True on the object.
            label: (H, W), 0, 1 or 255; 255 is left out, or background, as ``border`` says.

        Returns:
            Intersection and union of its foreground, in pixels.
        """
        truth = label == 1
        if self.border == "ignore":
            valid = label != IGNORE
            prediction, truth = prediction[valid], truth[valid]
        counts = _intersection_union(prediction, truth)
        self.foreground[class_id] += counts
        self.background += _intersection_union(~prediction, ~truth)
        return counts

    def per_class(self) -> dict[int, float]:
        """IoU in percent of each class that had an episode with anything to count."""
        return {
            class_id: iou
            for class_id, counts in self.foreground.items()
            if (iou := percent(counts)) is not None
        }

    def mean_iou(self) -> float:
        """Mean over the classes, in percent; NaN before the first episode."""
        values = list(self.per_class().values())
        return float(np.mean(values)) if values else float("nan")

    def binary_iou(self) -> float:
        """Mean of pooled foreground and background IoU, in percent; NaN where nothing counted."""
        foreground = np.sum(list(self.foreground.values()), axis=0)
        ratios = [percent(counts) for counts in (foreground, self.background)]
        return float(np.mean([float("nan") if ratio is None else ratio for ratio in ratios]))


def percent(counts: NDArray[np.int64]) -> float | None:
    """Intersection over union in percent, of both in pixels; None where there is nothing."""
    return 100.0 * float(counts[0]) / float(counts[1]) if counts[1] else None


def _intersection_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array([np.sum(first & second), np.sum(first | second)], dtype=np.int64)
