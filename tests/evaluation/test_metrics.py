import math

import numpy as np
import pytest

from arnet.evaluation.metrics import IoUMeter


def mask(text):
    """Rows of a mask: 1 object, 0 not, 9 ignored."""
    rows = np.array([[int(c) for c in row] for row in text.split()], np.uint8)
    return np.where(rows == 9, 255, rows).astype(np.uint8)


def update(meter, class_id, predicted, label):
    meter.update(class_id, mask(predicted) == 1, mask(label))


def test_intersection_over_union_by_hand():
    meter = IoUMeter([1])
    update(meter, 1, "1100 1100", "0110 0110")
    # Foreground: 2 in both, 6 in one or the other. Background: 2 in both, 6 in either.
    assert meter.per_class() == {1: pytest.approx(100 * 2 / 6)}
    assert meter.mean_iou() == pytest.approx(100 * 2 / 6)
    assert meter.binary_iou() == pytest.approx((100 * 2 / 6 + 100 * 2 / 6) / 2)


def test_the_border_is_left_out_or_background():
    scores = {}
    for border in ("ignore", "background"):
        meter = IoUMeter([1], border)
        update(meter, 1, "1110 0000", "1990 0009")
        scores[border] = meter.per_class()[1], meter.binary_iou()
    # Left out: the 5 pixels of 0 or 1 remain; foreground 1/1, background 4/4.
    assert scores["ignore"] == (100, 100)
    # Background: the object is 1 pixel, 3 are predicted: 1/3. Background 5 of 7.
    assert scores["background"][0] == pytest.approx(100 / 3)
    assert scores["background"][1] == pytest.approx((100 / 3 + 100 * 5 / 7) / 2)


def test_mean_iou_is_a_ratio_of_sums_not_a_mean_of_episodes():
    meter = IoUMeter([1])
    update(meter, 1, "1000 0000", "1000 0000")  # 1/1
    update(meter, 1, "1111 0000", "0000 1111")  # 0/8
    update(meter, 1, "1111 1111", "1111 0000")  # 4/8
    summed, of_episodes = 100 * (1 + 0 + 4) / (1 + 8 + 8), 100 * (1 + 0 + 0.5) / 3
    assert meter.mean_iou() == pytest.approx(summed)
    assert abs(summed - of_episodes) > 20, "the negative control tells them apart"


def test_mean_iou_is_the_mean_of_classes_and_binary_iou_pools_them():
    meter = IoUMeter([1, 2])
    update(meter, 1, "1000 0000", "1000 0000")
    update(meter, 2, "1111 1100", "1110 0011")
    # Class 1: 1/1. Class 2: 3 in both, 8 in either.
    assert meter.per_class() == {1: 100, 2: pytest.approx(100 * 3 / 8)}
    assert meter.mean_iou() == pytest.approx((100 + 37.5) / 2)
    # Pooled foreground: (1 + 3) / (1 + 8). Background: 7/7 and 0 of 5: (7 + 0) / (7 + 5).
    assert meter.binary_iou() == pytest.approx(100 * (4 / 9 + 7 / 12) / 2)
    assert meter.binary_iou() != pytest.approx((100 + 100 * 3 / 16) / 2), "not a mean of classes"


def test_classes_without_an_episode_do_not_count():
    meter = IoUMeter([1, 2])
    assert meter.per_class() == {} and math.isnan(meter.mean_iou())
    update(meter, 1, "10", "10")
    assert meter.per_class() == {1: 100} and meter.mean_iou() == 100


def test_a_class_that_is_missed_altogether_counts_as_zero():
    meter = IoUMeter([1, 2])
    update(meter, 1, "10", "10")
    update(meter, 2, "00", "10")
    assert meter.mean_iou() == 50


def test_binary_iou_is_nan_where_nothing_counts():
    assert math.isnan(IoUMeter([1]).binary_iou())


def test_many_large_episodes_do_not_overflow():
    meter = IoUMeter([1])
    meter.foreground[1] += 2**40
    update(meter, 1, "11", "11")
    assert meter.foreground[1].tolist() == [2**40 + 2] * 2
