"""Ratios and growth against planted costs."""

from __future__ import annotations

import numpy as np
import pytest

from arnet.runtime.benchmark.comparison import growths, median_ratio, ratios


def test_a_planted_ratio_is_found(measured) -> None:
    result = measured(
        {"bundle": {"delay": 0.05}, "torch": {"delay": 0.15}}, shots=(1,), min_samples=9
    )
    (ratio,) = ratios(result)
    assert (ratio.contender, ratio.shots, ratio.classes) == ("torch", 1, 1)
    assert ratio.ratio == pytest.approx(3.0, rel=0.25)
    assert ratio.low <= ratio.ratio <= ratio.high
    assert ratio.low > 1


def test_a_contender_that_keeps_nothing_is_marked(measured) -> None:
    result = measured(
        {"bundle": {}, "whole": {"caches_support": False, "learning": 0.005}}, shots=(1,)
    )
    (ratio,) = ratios(result)
    assert ratio.reads_supports
    assert ratio.ratio > 1


def test_golden_ratio_of_medians() -> None:
    ratio, low, high = median_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 100.0])
    assert ratio == 2.0
    assert low <= 2.0 <= high


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 pairs with ratio 1, about 190 intervals hold 1; it is no interval of the samples."""
    rng = np.random.default_rng(0)
    holds, widths = 0, []
    for _ in range(200):
        above, below = rng.normal(1.0, 0.1, (2, 41))
        _, low, high = median_ratio(above, below)
        holds += low <= 1.0 <= high
        widths.append(high - low)
    assert 180 <= holds <= 200
    assert np.mean(widths) < 0.15


def test_cost_over_shots_and_classes_is_told_relative_to_the_first(measured) -> None:
    result = measured({"bundle": {"learning": 0.01}}, shots=(1, 3), classes=(1, 2), min_samples=5)
    found = {(growth.scenario, growth.over): growth.factors for growth in growths(result)}
    assert found["support", "shots"][1] == 1.0
    assert found["support", "shots"][3] == pytest.approx(3.0, rel=0.2)
    assert found["support", "classes"][2] == pytest.approx(2.0, rel=0.2)
    assert set(found) == {
        (scenario, over)
        for scenario in ("support", "query", "episode")
        for over in ("shots", "classes")
    }


def test_one_number_of_shots_and_of_classes_does_not_grow(measured) -> None:
    assert growths(measured({"bundle": {}}, shots=(1,))) == []
