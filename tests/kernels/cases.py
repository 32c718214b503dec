"""What each kernel is run with: odd sizes, one to ten and more of everything, extreme values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
COLOURS = {
    f"{kind}_{name}": value
    for kind, values in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225)))
    for name, value in zip(("red", "green", "blue"), values, strict=True)
}


@dataclass(frozen=True)
class Case:
    """Inputs in float32 (or uint8) and parameters of one launch."""

    kernel: str
    label: str
    inputs: tuple[Array, ...]
    parameters: dict[str, float]


def soft_masks(rng: np.random.Generator, count: int, height: int, width: int) -> Array:
    """Masks of values 0..1; the first is empty and the second full, where there are so many."""
    masks = rng.random((count, 1, height, width)).astype(np.float32)
    if count > 1:
        masks[0], masks[1] = 0, 1
    return masks


def masked_pool(rng: np.random.Generator) -> Iterator[Case]:
    shapes = [
        *((count, 3, 6, 6) for count in range(1, 11)),
        (1, 1, 1, 1), (23, 5, 5, 7), (5, 4, 41, 41), (2, 2, 40, 40), (11, 2, 3, 4),
        (1, 3, 8, 9), (4, 3, 60, 70), (7, 6, 8, 8), (5, 1025, 1, 8),
    ]  # fmt: skip
    for count, channels, height, width in shapes:
        for area in (0, 1) if channels < 1024 else (1,):
            features = rng.standard_normal((1, channels, height, width)).astype(np.float32)
            # 1600 values of 1000 add up to far more than half precision holds.
            features *= 1000 if height == 40 else 1
            masks = soft_masks(rng, count, height, width)
            label = f"{count}x{channels}x{height}x{width}-area{area}"
            yield Case("masked_pool", label, (features, masks), {"area": area})


def masked_pool_resized(rng: np.random.Generator) -> Iterator[Case]:
    shapes = [
        *((count, 3, 4, 5, 11, 9) for count in range(1, 11)),
        (1, 1, 1, 1, 1, 1), (2, 2, 3, 2, 1, 1), (3, 17, 6, 6, 6, 6), (2, 3, 9, 7, 5, 12),
        (11, 2, 3, 4, 7, 30), (2, 2, 10, 66, 21, 80), (2, 1, 2, 3, 5, 1100), (2, 2, 40, 40, 43, 81),
    ]  # fmt: skip
    for count, channels, height, width, old_height, old_width in shapes:
        for area in (0, 1):
            features = rng.standard_normal((1, channels, height, width)).astype(np.float32)
            features *= 1000 if height == 40 else 1
            masks = soft_masks(rng, count, old_height, old_width)
            label = f"{count}x{channels}x{height}x{width}-of{old_height}x{old_width}-area{area}"
            yield Case("masked_pool_resized", label, (features, masks), {"area": area})


def masked_shift_sum(rng: np.random.Generator) -> Iterator[Case]:
    shapes = [
        *((count, 2, 5, 6) for count in range(1, 11)),
        (1, 1, 2, 2), (2, 5, 2, 3), (3, 4, 7, 5), (2, 6, 16, 17), (2, 3, 12, 22), (12, 1, 3, 2),
        (2, 3, 2, 4), (3, 4, 4, 8), (5, 2, 25, 24), (2, 2, 9, 20),
    ]  # fmt: skip
    for count, depth, height, width in shapes:
        scale = 1000 if height == 16 else 1
        taps, own, border = (
            (scale * rng.standard_normal(shape)).astype(np.float32)
            for shape in (
                (1, 9 * depth, height, width),
                (count, depth, height, width),
                (count, 9, depth),
            )
        )
        inputs = (taps, soft_masks(rng, count, height, width), own, border)
        yield Case("masked_shift_sum", f"{count}x{depth}x{height}x{width}", inputs, {})


def masked_pool_nhwc(rng: np.random.Generator) -> Iterator[Case]:
    shapes = [
        *((count, 8, 6, 6) for count in range(1, 11)),
        (1, 1, 1, 1), (23, 5, 5, 7), (5, 16, 41, 41), (2, 24, 40, 40), (11, 2, 3, 4),
        (3, 12, 50, 50), (6, 512, 1, 2), (1, 515, 1, 1),
    ]  # fmt: skip
    for count, channels, height, width in shapes:
        for area in (0, 1) if channels < 512 else (1,):
            features = rng.standard_normal((1, height, width, channels)).astype(np.float32)
            features *= 1000 if height == 40 else 1
            masks = soft_masks(rng, count, height, width)
            label = f"{count}x{height}x{width}x{channels}-area{area}"
            yield Case("masked_pool_nhwc", label, (features, masks), {"area": area})


def masked_shift_sum_nhwc(rng: np.random.Generator) -> Iterator[Case]:
    shapes = [
        *((count, 5, 6, 8) for count in range(1, 11)),
        (1, 2, 2, 1), (2, 2, 3, 5), (3, 7, 5, 12), (2, 16, 17, 16), (2, 12, 22, 9), (12, 3, 2, 24),
    ]  # fmt: skip
    for count, height, width, depth in shapes:
        scale = 1000 if height == 16 else 1
        taps, own, border = (
            (scale * rng.standard_normal(shape)).astype(np.float32)
            for shape in (
                (1, height, width, 9 * depth),
                (count, height, width, depth),
                (count, 9, depth),
            )
        )
        inputs = (taps, soft_masks(rng, count, height, width), own, border)
        yield Case("masked_shift_sum_nhwc", f"{count}x{height}x{width}x{depth}", inputs, {})


def forget_enhance(rng: np.random.Generator) -> Iterator[Case]:
    sizes = [
        *((shots, 9, 2, 1 + shots % 4) for shots in range(1, 11)),
        (1, 1, 1, 1), (5, 64, 2, 4), (25, 3, 2, 8), (4, 33, 3, 2), (6, 5, 1, 3),
        (1, 8, 2, 1), (2, 24, 2, 1), (7, 16, 2, 2), (10, 8, 2, 3), (3, 264, 2, 1), (11, 16, 2, 1),
    ]  # fmt: skip
    for shots, channels, kernel, dilation in sizes:
        vectors, weights, biases = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in (
                (shots, channels),
                (3, 3 * channels, channels, kernel),
                (3, 3 * channels),
            )
        )
        if shots == 10:
            vectors *= 1000  # gates fully open and fully closed
        weights /= np.float32(np.sqrt(channels * kernel))
        parameters = {"block": shots % 3, "dilation": dilation}
        label = f"{shots}x{channels}-kernel{kernel}-dilation{dilation}"
        yield Case("forget_enhance", label, (vectors, weights, biases), parameters)


def preprocess(rng: np.random.Generator) -> Iterator[Case]:
    sizes = [
        (1, 1, 3),
        (7, 5, 9),
        (40, 64, 33),
        (33, 31, 32),
        (3, 1100, 5),
        (150, 91, 8),
        (9, 8, 65),
        (90, 160, 70),
        (65, 66, 65),
        (200, 620, 4),
    ]
    for height, width, size in sizes:
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        yield Case("preprocess", f"{height}x{width}to{size}", (image,), {"size": size, **COLOURS})


def margins(rng: np.random.Generator, kernel: str) -> Iterator[Case]:
    sizes = [
        (1, 1, 1, 3, 5), (2, 5, 7, 33, 20), (3, 6, 6, 6, 6), (10, 4, 9, 31, 17), (1, 9, 8, 4, 3),
        (1, 2, 3, 1, 530), (2, 3, 5, 41, 36),
    ]  # fmt: skip
    for count, height, width, out_height, out_width in sizes:
        maps = (rng.standard_normal((count, height, width)) * 3).astype(np.float32)
        if count == 3:
            maps *= 1000  # sigmoid's ends
        parameters: dict[str, float] = {"height": out_height, "width": out_width}
        if kernel != "postprocess":
            parameters["threshold"] = 0.25
        label = f"{count}x{height}x{width}to{out_height}x{out_width}"
        yield Case(kernel, label, (maps,), parameters)


def one_mask_of_many_channels(rng: np.random.Generator) -> Iterator[Case]:
    """The paths of pooling that are for one shot of a backbone whose features are not reduced."""
    for kernel, shape in (("masked_pool", (1, 1025, 1, 8)), ("masked_pool_nhwc", (1, 1, 2, 512))):
        features = rng.standard_normal(shape).astype(np.float32)
        height, width = shape[2:] if kernel == "masked_pool" else shape[1:3]
        masks = rng.random((1, 1, height, width)).astype(np.float32)
        label = "1x" + "x".join(map(str, shape[1:]))
        yield Case(kernel, label, (features, masks), {"area": 1})


def all_cases() -> Iterator[Case]:
    """Always the same ones."""
    rng = np.random.default_rng(0)
    for make in (masked_pool, masked_shift_sum, forget_enhance, preprocess):
        yield from make(rng)
    for kernel in ("postprocess", "postprocess_mask", "postprocess_labels"):
        yield from margins(rng, kernel)
    for make in (masked_pool_resized, masked_pool_nhwc, masked_shift_sum_nhwc):
        yield from make(rng)
    yield from one_mask_of_many_channels(rng)


CASES = list(all_cases())
