"""Careless masks."""

import numpy as np

from arnet.data.weak import weaken


def disc(side: int = 65) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return (((y - 30) ** 2 + (x - 25) ** 2) < 15**2).astype(np.uint8)


def iou(a, b) -> float:
    return (a & b).sum() / (a | b).sum()


def test_careless_masks_are_near_the_true_one_but_other() -> None:
    mask = disc()
    weak = [weaken(mask, np.random.default_rng(n)) for n in range(60)]
    overlaps = [iou(mask, one) for one in weak]
    assert all(one.shape == mask.shape and set(np.unique(one)) <= {0, 1} for one in weak)
    assert min(overlaps) > 0.5 and np.mean(np.array(overlaps) < 1) > 0.9
    # All kinds come: boxes, which are full rectangles, larger ones and smaller ones.
    assert any(one[16:45, 11:40].all() for one in weak)
    assert any(one.sum() < 0.95 * mask.sum() for one in weak)
    assert any(1.05 * mask.sum() < one.sum() for one in weak)


def test_one_seed_gives_one_mask() -> None:
    first, second = (weaken(disc(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)


def test_what_would_vanish_stays() -> None:
    mask = np.zeros((65, 65), np.uint8)
    mask[30, 30] = 1
    assert all(weaken(mask, np.random.default_rng(n)).any() for n in range(20))
