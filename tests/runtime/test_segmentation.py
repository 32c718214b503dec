"""Probabilities of classes become labels."""

from __future__ import annotations

import numpy as np
import pytest

from arnet.runtime.segmentation import THRESHOLD, ClassMasks, Segmentation


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_pixel_belongs_to_the_surest_class_above_the_threshold(classes):
    rng = np.random.default_rng(classes)
    # In tenths, so that classes are often equally sure, and some exactly at the threshold.
    maps = rng.integers(0, 11, (classes, 30, 40)).astype(np.float32) / 10
    found = Segmentation({str(n): ClassMasks(one, None, None) for n, one in enumerate(maps)}, {})
    labels = found.labels()
    assert labels.dtype == np.uint8
    for y, x in np.ndindex(labels.shape):
        likely = maps[:, y, x].tolist()
        best = max(likely)
        assert labels[y, x] == (likely.index(best) + 1 if best > THRESHOLD else 0)
