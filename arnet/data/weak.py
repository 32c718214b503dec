"""Careless masks: what a person may give as a support's mask in place of an exact one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from arnet.runtime.annotations.shapes import boxes_from_mask

OUTLINE = (6, 20)
"""Cells along each side of the coarse grid that a hasty outline follows: at least 6, under 20."""
STRETCH = 0.03
"""Most that a mask grows or shrinks, as a share of the image's side."""


def weaken(mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A mask as a careless person would draw it: a box, a coarse outline, too large or too small.

    Args:
        mask: (H, W), 1 the object, 0 all else.
        rng: the only source of chance.

    Returns:
        Of the same shape and kind; the mask itself where nothing would be left of it.
    """
    kind = rng.integers(4)
    if kind == 0:
        weak = boxes_from_mask(mask)
    elif kind == 1:
        cells = int(rng.integers(*OUTLINE))
        coarse = F.interpolate(_map(mask), size=(cells, cells), mode="area")
        smooth = F.interpolate(coarse, size=mask.shape, mode="bilinear", align_corners=False)
        weak = (smooth[0, 0] > 0.5).numpy().astype(np.uint8)
    else:
        reach = 1 + int(rng.integers(max(1, round(STRETCH * mask.shape[0]))))
        grown = _grow(mask if kind == 2 else 1 - mask, reach)
        weak = grown if kind == 2 else 1 - grown
    return weak if weak.any() else mask


def _map(mask: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]


def _grow(mask: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    grown = F.max_pool2d(_map(mask), 2 * reach + 1, stride=1, padding=reach)
    return grown[0, 0].numpy().astype(np.uint8)
