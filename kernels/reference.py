"""What every kernel computes, in NumPy and float32 or better: the tests' truth.

The definitions in torch (``export/operators.py``, ``export/resampling.py``) give the same; a test
compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

AREA_EPSILON = 5e-4
"""Added to the area of a mask, in cells, so that an empty mask pools to zero."""


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1, small) / (1 + small)


def masked_pool(features: Array, masks: Array, *, area: int) -> Array:
    """Eq. 3: (1, C, h, w) and (T, 1, h, w) to (T, C); ``area`` 1 divides by the masks' area."""
    flat = masks.astype(np.float64).reshape(len(masks), -1)
    total = flat @ features[0].astype(np.float64).reshape(features.shape[1], -1).T
    return total / (flat.sum(axis=1, keepdims=True) + AREA_EPSILON if area else flat.shape[1])


def masked_pool_resized(features: Array, masks: Array, *, area: int) -> Array:
    """Eq. 3 for masks of another size (T, 1, H, W), averaged to that of the features first."""
    rows, columns = (averaging(masks.shape[i], features.shape[i]) for i in (2, 3))
    return masked_pool(features, rows @ masks.astype(np.float64) @ columns.T, area=area)


def masked_shift_sum(taps: Array, masks: Array, own: Array, border: Array) -> Array:
    """relu(sum over t of mask(p + t) * taps_t(p + t) + own + border), (T, D, h, w)."""
    depth, height, width = own.shape[1:]
    edge = ((0, 0), (0, 0), (1, 1), (1, 1))
    maps = np.pad(taps.astype(np.float64).reshape(9, depth, height, width), edge)
    padded = np.pad(masks.astype(np.float64), edge)
    kinds = [np.ones(length, np.int64) for length in (height, width)]
    for kind in kinds:
        kind[-1], kind[0] = 2, 0
    places = 3 * kinds[0][:, None] + kinds[1][None]
    total = own.astype(np.float64) + border.astype(np.float64).transpose(0, 2, 1)[..., places]
    for tap in range(9):
        y, x = divmod(tap, 3)
        window = (slice(None), slice(None), slice(y, y + height), slice(x, x + width))
        total += padded[window] * maps[tap][None][window]
    return np.maximum(total, 0)


def masked_pool_nhwc(features: Array, masks: Array, *, area: int) -> Array:
    """``masked_pool`` for features (1, h, w, C)."""
    return masked_pool(features.transpose(0, 3, 1, 2), masks, area=area)


def masked_shift_sum_nhwc(taps: Array, masks: Array, own: Array, border: Array) -> Array:
    """``masked_shift_sum`` for taps (1, h, w, 9 * D) and own (T, h, w, D), to (T, h, w, D)."""
    planes = (taps.transpose(0, 3, 1, 2), masks, own.transpose(0, 3, 1, 2), border)
    return masked_shift_sum(*planes).transpose(0, 2, 3, 1)


def forget_enhance(
    vectors: Array, weights: Array, biases: Array, *, block: int, dilation: int
) -> Array:
    """Eq. 8, block number ``block`` of the stack: (k, C) to (k, C)."""
    x, weight = vectors.astype(np.float64), weights[block].astype(np.float64)
    kernel = weight.shape[-1]
    gates = np.tile(biases[block].astype(np.float64), (len(x), 1))
    for tap in range(kernel):
        back = (kernel - 1 - tap) * dilation
        gates[back:] += x[: max(len(x) - back, 0)] @ weight[..., tap].T
    forget, update, enhance = np.split(gates, 3, axis=1)
    return x * sigmoid(forget) + np.tanh(update) * sigmoid(enhance)


def averaging(old: int, new: int) -> Array:
    """The matrix (new, old) that resizes a line of pixels, bilinear with antialiasing."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None])
    weights = np.maximum(1 - distance / max(scale, 1), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def preprocess(image: Array, *, size: int, **colours: float) -> Array:
    """uint8 (H, W, 3) to (1, 3, size, size): resized, then (x / 255 - mean) / deviation."""
    height, width, _ = image.shape
    mean, deviation = (
        np.array([colours[f"{kind}_{name}"] for name in ("red", "green", "blue")])[:, None, None]
        for kind in ("mean", "deviation")
    )
    planes = image.astype(np.float64).transpose(2, 0, 1)
    resized = averaging(height, size) @ planes @ averaging(width, size).T
    return ((resized / 255 - mean) / deviation)[None]


def enlarged(margins: Array, height: int, width: int) -> Array:
    """(N, h, w) to (N, height, width): bilinear with pixel centres, no antialiasing."""
    result = margins.astype(np.float64)
    for axis, new in ((1, height), (2, width)):
        old = result.shape[axis]
        at = np.maximum((np.arange(new) + 0.5) * old / new - 0.5, 0)
        low = np.minimum(at.astype(np.int64), old - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        high = np.minimum(low + 1, old - 1)
        result = result.take(low, axis) * (1 - share) + result.take(high, axis) * share
    return result


def postprocess(margins: Array, *, height: int, width: int) -> Array:
    """Probability (N, height, width), float32."""
    return sigmoid(enlarged(margins, height, width)).astype(np.float32)


def postprocess_mask(margins: Array, *, height: int, width: int, threshold: float) -> Array:
    """1 where the enlarged margin is above ``threshold``, uint8 (N, height, width)."""
    return (enlarged(margins, height, width) > threshold).astype(np.uint8)


def postprocess_labels(margins: Array, *, height: int, width: int, threshold: float) -> Array:
    """1 + the class of the largest margin where above ``threshold``, uint8 (height, width)."""
    maps = enlarged(margins, height, width)
    return np.where(maps.max(axis=0) > threshold, maps.argmax(axis=0) + 1, 0).astype(np.uint8)
