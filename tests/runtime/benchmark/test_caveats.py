"""What makes a measurement doubtful is told, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from arnet.runtime.benchmark.caveats import caveats
from arnet.runtime.benchmark.gpu import throttled
from arnet.runtime.benchmark.result import Measurement

ENVIRONMENT: dict[str, Any] = {
    "load_average": [0.1, 0.1, 0.1],
    "cores": 2,
    "cores_used": {"own": 1.0, "others": 0.02, "stolen": 0.0},
    "gpu": None,
    "gpu_after": None,
}
STEADY = [1.0, 1.02] * 400


def told(
    seconds: list[float] = STEADY, device: str = "cpu", devices: dict | None = None, **changes: Any
) -> list[str]:
    measurement = Measurement("bundle", "query", 5, 1, seconds, {})
    on_gpu = devices or {"bundle": device == "gpu"}
    return caveats([measurement], ENVIRONMENT | changes, on_gpu, 20)


def test_of_a_quiet_machine_and_steady_times_there_is_nothing_to_tell() -> None:
    assert told() == []
    assert told(load_average=None, cores_used={"own": 1.0, "others": None, "stolen": None}) == []


def test_times_that_vary_are_told_from_the_limit_of_the_device_on() -> None:
    # 8 % on either side of 1: 8 % of variation.
    varying = [0.92, 1.08] * 400
    assert told(varying) == []
    (message,) = told(varying, device="gpu")
    assert "bundle, query, 5 shots, 1 class, which varies by 8 % (limit 2.5 %)" in message
    (message,) = told([0.8, 1.2] * 400)
    assert "varies by 20 % (limit 10 %)" in message


def test_of_many_unsteady_measurements_the_worst_is_named() -> None:
    measurements = [
        Measurement("bundle", scenario, 1, 1, [1 - spread, 1 + spread] * 400, {})
        for scenario, spread in (("support", 0.2), ("query", 0.4), ("episode", 0.01))
    ]
    first, *_ = caveats(measurements, ENVIRONMENT, {"bundle": False}, 20)
    assert first.startswith("2 of 3 measurements are unsteady")
    assert "bundle, query, 1 shot, 1 class, which varies by 40 %" in first


@pytest.mark.parametrize(("count", "percentile", "floor"), [(20, 90, 64), (64, 95, 130)])
def test_too_few_samples_are_told_with_the_number_that_is_needed(count, percentile, floor) -> None:
    (message,) = told(STEADY[:count])
    assert message == (f"{count} samples are too few for p{percentile}: --min-samples {floor}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"load_average": [1.5, 1, 1]}, "load average 1.50 before the run"),
        (
            {"cores_used": {"own": 1.0, "others": 0.7, "stolen": 0.0}},
            "other processes used 0.7 of 2 cores",
        ),
        ({"cores_used": {"own": 1.0, "others": 0.0, "stolen": 0.5}}, "the host took 0.5 cores"),
        ({"gpu_after": {"throttle_reasons": "0x0000000000000004"}}, "held its clock back"),
    ],
)
def test_what_else_the_machine_did_is_told(changes: dict[str, Any], words: str) -> None:
    (message,) = told(**changes)
    assert words in message


def test_contenders_on_different_devices_are_told() -> None:
    (message,) = told(devices={"bundle": False, "torch": True})
    assert message == "only some contenders ran on the GPU: torch"


@pytest.mark.parametrize(("episode", "remembered"), [(0.5, True), (0.95, False), (1.2, False)])
def test_an_episode_cheaper_than_its_parts_was_not_cold(episode: float, remembered: bool) -> None:
    measurements = [
        Measurement("bundle", scenario, 1, 1, [seconds] * 700, {})
        for scenario, seconds in (("support", 0.6), ("query", 0.4), ("episode", episode))
    ]
    found = caveats(measurements, ENVIRONMENT, {"bundle": False}, 20)
    assert bool(found) == remembered
    assert not remembered or "something of it was remembered" in found[0]


def test_a_gpu_that_idles_is_not_throttled() -> None:
    assert not throttled(None)
    assert not throttled({"throttle_reasons": "0x0000000000000001"})
    assert not throttled({"throttle_reasons": "[N/A]"})
    assert throttled({"throttle_reasons": "0x0000000000000021"})
