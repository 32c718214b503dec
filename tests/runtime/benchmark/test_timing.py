"""Statistics against golden values, and the loop against planted costs."""

from __future__ import annotations

import time

import pytest

from arnet.runtime.benchmark.timing import (
    PERCENTILE_FLOORS,
    Samples,
    Sampling,
    measure,
    percentile,
    summarise,
)


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1), (50, 50), (90, 90), (95, 95), (99, 99), (100, 100)]
)
def test_percentiles_of_one_to_a_hundred_are_themselves(percent: int, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([15, 20, 35, 40, 50], 30, 20),  # the textbook's example of the nearest rank
        ([15, 20, 35, 40, 50], 40, 20),
        ([15, 20, 35, 40, 50], 41, 35),
        ([15, 20, 35, 40, 50], 100, 50),
        ([7.5], 99, 7.5),
    ],
)
def test_a_percentile_is_a_sample_of_the_nearest_rank(samples, percent, expected) -> None:
    assert percentile(samples, percent) == expected


@pytest.mark.parametrize(("percent", "floor"), [(90, 64), (95, 130), (99, 662)])
def test_a_percentile_is_told_from_its_number_of_samples_on(percent: int, floor: int) -> None:
    assert PERCENTILE_FLOORS[percent] == floor
    assert summarise([1.0] * (floor - 1)).percentiles[percent] is None
    assert summarise([1.0] * floor).percentiles[percent] == 1.0


def test_golden_statistics() -> None:
    summary = summarise([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert (summary.count, summary.minimum, summary.maximum) == (8, 2.0, 9.0)
    assert (summary.median, summary.mean) == (4.5, 5.0)
    assert summary.deviation == pytest.approx((32 / 7) ** 0.5)  # of a sample, not of a population
    assert summary.variation == pytest.approx((32 / 7) ** 0.5 / 5)


def test_no_outlier_is_removed() -> None:
    summary = summarise([1.0] * 99 + [1000.0])
    assert summary.count == 100
    assert summary.maximum == 1000.0
    assert summary.mean == pytest.approx(10.99)


def test_one_sample_has_no_spread() -> None:
    summary = summarise([3.0])
    assert (summary.median, summary.deviation, summary.variation) == (3.0, 0.0, 0.0)


def test_a_stage_that_comes_later_or_stays_away_took_no_time() -> None:
    samples = Samples()
    samples.add(1.0, {"a": 0.5})
    samples.add(1.0, {"b": 0.25})
    assert samples.stages == {"a": [0.5, 0.0], "b": [0.0, 0.25]}


def test_a_contender_that_is_three_times_as_slow_comes_out_three_times_as_slow() -> None:
    def sleeper(seconds: float):
        def call(number: int) -> dict[str, float]:
            time.sleep(seconds)
            return {}

        return call

    # So long that a few milliseconds of waiting for a processor do not matter.
    calls = {"fast": sleeper(0.05), "slow": sleeper(0.15)}
    samples = measure(calls, Sampling(0.0, 9, 0.0, 1, pause=0.0))
    medians = {name: summarise(found.seconds).median for name, found in samples.items()}
    assert medians["fast"] == pytest.approx(0.05, rel=0.3)
    assert medians["slow"] / medians["fast"] == pytest.approx(3.0, rel=0.2)


def test_contenders_take_turns_on_the_same_input_in_changing_order() -> None:
    calls = []

    def recorder(name: str):
        def call(number: int) -> dict[str, float]:
            calls.append((number, name))
            return {}

        return call

    names = ["a", "b", "c"]
    samples = measure({n: recorder(n) for n in names}, Sampling(0.0, 12, 0.0, 0, pause=0.0))
    rounds = [calls[start : start + 3] for start in range(0, 36, 3)]
    assert [{number for number, _ in found} for found in rounds] == [{n} for n in range(12)]
    assert all(sorted(name for _, name in found) == names for found in rounds)
    assert len({tuple(name for _, name in found) for found in rounds}) > 3
    assert {len(found.seconds) for found in samples.values()} == {12}


def test_a_drift_hits_all_alike() -> None:
    """The machine grows ten times slower meanwhile; who was first has no advantage."""
    work = iter(range(10_000))

    def drifting(number: int) -> dict[str, float]:
        time.sleep(0.0005 * (1 + next(work) / 4))
        return {}

    samples = measure({"a": drifting, "b": drifting}, Sampling(0.0, 20, 0.0, 0, pause=0.0))
    first, second = (summarise(found.seconds).median for found in samples.values())
    assert first / second == pytest.approx(1.0, abs=0.3)  # one after the other: about 0.4


def test_measuring_goes_on_until_both_the_time_and_the_samples_are_enough() -> None:
    def call(number: int) -> dict[str, float]:
        time.sleep(0.005)
        return {}

    by_samples = measure({"a": call}, Sampling(0.0, 7, 0.0, 0))
    assert len(by_samples["a"].seconds) == 7
    by_time = measure({"a": call}, Sampling(0.2, 2, 0.0, 0))
    assert 10 <= len(by_time["a"].seconds) <= 40
    assert sum(by_time["a"].seconds) == pytest.approx(0.2, abs=0.1)


def test_warming_up_is_not_measured() -> None:
    calls = []

    def call(number: int) -> dict[str, float]:
        calls.append(number)
        time.sleep(0.05 if len(calls) <= 4 else 0.0)
        return {}

    samples = measure({"a": call}, Sampling(0.0, 5, 0.0, 4))
    assert len(calls) == 9
    assert summarise(samples["a"].seconds).median < 0.04


def test_warming_up_takes_its_time_as_well_as_its_calls() -> None:
    calls = []

    def call(number: int) -> dict[str, float]:
        calls.append(number)
        time.sleep(0.01)
        return {}

    measure({"a": call}, Sampling(0.0, 1, 0.1, 2))
    assert 4 <= len(calls) - 1 <= 10


def test_a_gpu_warms_up_longer_and_is_sampled_more() -> None:
    cpu, gpu = Sampling.suited(False, 3.0, None), Sampling.suited(True, 3.0, None)
    assert (cpu.min_samples, cpu.warm_up_calls) == (20, 3)
    assert (gpu.min_samples, gpu.warm_up_calls) == (100, 10)
    assert Sampling.suited(True, 1.0, 5).min_samples == 5
