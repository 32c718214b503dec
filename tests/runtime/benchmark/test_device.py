"""What a GPU tells of its own time stands beside the host's times, never among them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from arnet.runtime.benchmark import report
from arnet.runtime.benchmark.caveats import caveats
from arnet.runtime.benchmark.result import Measurement, read_result, write_result
from arnet.runtime.benchmark.scenarios import call_of
from arnet.runtime.benchmark.timing import DEVICE, Samples
from arnet.runtime.benchmark.workload import Workload

PARTS = {"encode_image": 0.0005, "decode": 0.00025, "enqueue": 0.0001}


class OnGpu:
    """A segmenter that tells what a GPU took."""

    def __init__(self, inner) -> None:
        self.inner, self.learn, self.describe = inner, inner.learn, inner.describe

    def segment(self, image, states):
        return replace(self.inner.segment(image, states), device=dict(PARTS))


def test_the_gpus_parts_are_no_stages(colours, workload: Workload) -> None:
    call = call_of("query", OnGpu(colours()), workload.episode(1, 1), workload.queries)
    samples = Samples()
    for number in range(3):
        samples.add(0.002, call(number))
    assert samples.device == {name: [spent] * 3 for name, spent in PARTS.items()}
    assert set(samples.stages) == {"wait", "compare", "labels"}


def test_a_part_that_comes_later_took_no_time_before() -> None:
    samples = Samples()
    samples.add(1.0, {"a": 0.5})
    samples.add(1.0, {"a": 0.5, f"{DEVICE}b": 0.25})
    assert samples.stages == {"a": [0.5, 0.5]} and samples.device == {"b": [0.0, 0.25]}


@pytest.fixture
def result(measured):
    found = measured({"bundle": {}})
    lists = {name: [spent] * 3 for name, spent in PARTS.items()}
    return replace(found, measurements=[replace(m, device=lists) for m in found.measurements])


def test_golden_table(result) -> None:
    table = report.on_device(result)
    assert table is not None
    row = next(row for row in table.rows if len(row) > 1)
    # The time of the host is no part of the GPU's.
    assert row == ["  bundle", "0.750", "0.100", "encode_image 0.500 · decode 0.250"]
    assert table.title in [one.title for one in report.tables(result)]


def test_without_a_gpu_there_is_no_such_table(measured) -> None:
    result = measured({"bundle": {}})
    assert report.on_device(result) is None
    assert result.environment["gpu_during"] is None


def test_it_is_in_the_file_and_an_older_file_is_read(result, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write_result(path, result)
    assert read_result(path) == result
    document = json.loads(path.read_text())
    assert document["measurements"][0]["device_medians"] == PARTS
    for measurement in document["measurements"]:
        del measurement["device"]
    path.write_text(json.dumps(document))
    assert read_result(path).measurements[0].device == {}


def test_a_gpu_that_held_back_while_it_was_measured_is_told() -> None:
    environment = {
        "load_average": None,
        "cores": 2,
        "cores_used": {"own": 1.0, "others": None, "stolen": None},
        "gpu": None,
        "gpu_after": None,
        "gpu_during": {"held_back": {"software power cap": 0.25}},
    }
    steady = [Measurement("bundle", "query", 5, 1, [1.0, 1.01] * 400, {})]
    (message,) = caveats(steady, environment, {"bundle": True}, 20)
    assert message == "the GPU held its clock back in 25 % of the time: software power cap"
    environment["gpu_during"]["held_back"] = {}
    assert caveats(steady, environment, {"bundle": True}, 20) == []
