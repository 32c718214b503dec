"""The JSON file: everything is in it, it reads back the same, and others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arnet.runtime.benchmark.result import Measurement, read_result, write_result
from arnet.runtime.errors import ConfigError


@pytest.fixture
def result(measured):
    return measured({"bundle": {}, "torch": {"delay": 0.001}}, "torch")


def test_a_result_reads_back_as_it_was_written(result, tmp_path: Path) -> None:
    write_result(tmp_path / "bench.json", result)
    assert read_result(tmp_path / "bench.json") == result


def test_every_sample_stands_in_the_file_with_its_statistics(result, tmp_path: Path) -> None:
    write_result(tmp_path / "bench.json", result)
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["format"] == "arnet-benchmark"
    assert document["command"] == "arnet bench horse.bundle"
    assert len(document["measurements"]) == 2 * 3 * 2  # contenders, scenarios, shots
    for plain, measurement in zip(document["measurements"], result.measurements, strict=True):
        assert plain["seconds"] == measurement.seconds
        assert plain["summary"]["count"] == len(plain["seconds"]) == 3
        assert plain["summary"]["percentiles"] == {"90": None, "95": None, "99": None}
    assert document["ratios"][0]["contender"] == "torch"
    assert document["environment"]["packages"]["numpy"]
    assert document["contenders"][0]["description"]["sha256"] == "0123456789abcdef"
    assert document["settings"]["warm_up_calls"] == 3


def test_the_stages_of_a_call_and_the_rest_make_up_its_time() -> None:
    measurement = Measurement(
        "a", "query", 1, 1, [10.0, 12.0, 14.0], {"x": [6.0, 6.0, 6.0], "y": [3.0, 4.0, 7.0]}
    )
    assert measurement.stage_medians() == {"x": 6.0, "y": 4.0, "other": 1.0}
    assert Measurement("a", "query", 1, 1, [1.0], {}).stage_medians() == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("no JSON", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        ("[1, 2]", "it has no format"),
        ('{"schema_version": 1, "results": []}', "it has no format"),
        ('{"format": "arnet-bundle"}', "its format is 'arnet-bundle'"),
        ('{"format": "arnet-benchmark", "schema_version": 2}', "schema version 2"),
        ('{"format": "arnet-benchmark", "schema_version": 1}', "is damaged"),
    ],
)
def test_a_file_of_another_kind_is_refused(text, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        read_result(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_damaged_result_is_refused(result, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write_result(path, result)
    document = json.loads(path.read_text())
    del document["measurements"][0]["seconds"]
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="is damaged"):
        read_result(path)
