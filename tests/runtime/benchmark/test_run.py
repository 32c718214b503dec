"""A benchmark as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from arnet.runtime.benchmark.result import BenchmarkResult
from arnet.runtime.benchmark.run import Scope, on_a_gpu, run
from arnet.runtime.benchmark.scenarios import Contender
from arnet.runtime.benchmark.workload import Workload
from arnet.runtime.errors import ConfigError, StateError
from arnet.runtime.segmenter import Segmenter

Measured = Callable[..., BenchmarkResult]


def test_every_contender_is_measured_in_every_scenario_it_has(measured: Measured) -> None:
    result = measured({"bundle": {}, "whole": {"caches_support": False}}, classes=(1, 3))
    cells = {(m.contender, m.scenario, m.shots, m.classes) for m in result.measurements}
    assert cells == {
        (name, scenario, shots, classes)
        for name in ("bundle", "whole")
        for scenario in ("support", "query", "episode")
        for shots in (1, 2)
        for classes in (1, 3)
        if (name, scenario) != ("whole", "support")
    }
    assert [record.caches_support for record in result.contenders] == [True, False]


def test_a_slow_contender_comes_out_slower_by_the_planted_factor(measured: Measured) -> None:
    result = measured(
        {"bundle": {"delay": 0.01}, "slow": {"delay": 0.04}}, shots=(1,), min_samples=9
    )
    bundle = result.find("bundle", "query", 1, 1)
    slow = result.find("slow", "query", 1, 1)
    assert bundle is not None and slow is not None
    assert slow.summary.median / bundle.summary.median == pytest.approx(4.0, rel=0.25)
    assert slow.stage_medians()["wait"] == pytest.approx(0.04, rel=0.2)
    # And what has nothing to do with it is as fast as before.
    fast = result.find("slow", "support", 1, 1)
    assert fast is not None and fast.summary.median < 0.005


def test_swapped_masks_show_and_equal_ones_do_not(measured: Measured) -> None:
    result = measured({"bundle": {"swapped": True}, "torch": {}, "other": {}}, "torch", shots=(1,))
    bundle, torch, other = (record.accuracy for record in result.contenders)
    assert bundle["changed_percent"] == 100.0
    assert bundle["mean_iou"] < 1 < 99 < torch["mean_iou"]
    assert other["changed_percent"] == other["largest_difference"] == 0.0
    assert torch["changed_percent"] is None


def test_without_a_reference_only_known_masks_are_looked_at(measured: Measured) -> None:
    (record,) = measured({"bundle": {}}, shots=(1,)).contenders
    assert (record.accuracy["annotated"], record.accuracy["compared"]) == (3, 0)
    assert record.accuracy["changed_percent"] is None


def test_what_is_wrong_stops_the_run_before_anything_is_measured(
    workload: Workload, quick: Scope, make_bundle
) -> None:
    bundle = Contender("bundle", partial(Segmenter.load, make_bundle(shots=2), engine="onnx"))
    with pytest.raises(StateError, match="takes exactly 2"):
        run([bundle], workload, replace(quick, shots=(1, 2)))


def test_a_bundle_of_a_fixed_number_of_shots_is_measured_with_that_number(
    workload: Workload, quick: Scope, make_bundle
) -> None:
    scope = quick.with_fixed_shots(4, asked=False)
    bundle = Contender("bundle", partial(Segmenter.load, make_bundle(shots=4), engine="onnx"))
    result = run([bundle], workload, scope)
    assert {m.shots for m in result.measurements} == {4}
    assert result.contenders[0].accuracy["annotated"] == 3
    assert quick.with_fixed_shots(None, asked=True) == quick
    with pytest.raises(ConfigError, match="1, 2 shots were asked for") as caught:
        quick.with_fixed_shots(4, asked=True)
    assert caught.value.hint == "--shots 4"


def test_a_bundle_is_measured_by_its_stages_with_its_memory(
    shared_bundle: Path, workload: Workload, quick: Scope
) -> None:
    bundle = Contender("bundle", partial(Segmenter.load, shared_bundle, engine="onnx"))
    result = run([bundle], workload, replace(quick, memory=True))
    query = result.find("bundle", "query", 2, 1)
    assert query is not None
    assert set(query.stages) == {
        *("preprocess", "encode_image", "encode_query", "decode", "postprocess", "labels")
    }
    assert query.summary.minimum > 0
    (record,) = result.contenders
    assert isinstance(record.memory, dict)
    assert record.description["engine"] == "onnx"


def test_a_memory_that_would_mislead_is_not_measured(
    workload: Workload, quick: Scope, colours
) -> None:
    contender = Contender("a", colours, "torch would be counted, too")
    result = run([contender], workload, replace(quick, memory=True))
    assert result.contenders[0].memory == "torch would be counted, too"


def test_progress_names_what_is_done(workload: Workload, quick: Scope, colours) -> None:
    told: list[tuple[str, int, int]] = []
    contender = Contender("bundle", colours)
    run([contender], workload, quick, progress=lambda *step: told.append(step))
    words = " ".join(what for what, _, _ in told)
    for expected in ("opening bundle", "comparing masks", "query, shots 2, classes 1: 3 samples"):
        assert expected in words


def test_doubts_of_the_caller_stand_with_the_warnings(
    workload: Workload, quick: Scope, colours
) -> None:
    result = run([Contender("bundle", colours)], workload, quick, doubts=["it is another model"])
    assert result.warnings[0] == "it is another model"
    assert "3 samples are too few for p90: --min-samples 64" in result.warnings


@pytest.mark.parametrize(
    ("description", "gpu"),
    [
        ({"device": "cpu", "name": "gpu-thing"}, False),
        ({"device": "cuda:0"}, True),
        ({"engine": "onnx-cuda", "device": "cuda"}, True),
        ({"engine": "tensorrt"}, True),
        ({}, False),
    ],
)
def test_a_gpu_is_known_by_what_a_contender_says_it_runs_on(description, gpu: bool) -> None:
    assert on_a_gpu(description) == gpu
