"""The tables say what was measured, and what they do not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arnet.runtime.benchmark import report, wording
from arnet.runtime.benchmark.result import Measurement


def rows_of(table: report.Table, name: str) -> list[list[str]]:
    return [row for row in table.rows if row[0].strip() == name]


@pytest.mark.parametrize(
    ("count", "tails"),
    [
        (63, "n/a (n=63)"),
        (100, "90.0/n/a/n/a (n=100)"),
        (200, "180/190/n/a (n=200)"),
        (1000, "900/950/990"),
    ],
)
def test_golden_row_of_latencies(count: int, tails: str, measured) -> None:
    seconds = [0.001 * number for number in range(1, count + 1)]
    result = replace(
        measured({"bundle": {}}, shots=(1,)),
        measurements=[Measurement("bundle", "query", 1, 1, seconds, {})],
    )
    table = report.latencies(result)
    names = ["milliseconds", "n", "min", "median", "mean", "sd", "p90/p95/p99", "per s"]
    assert table.columns == names
    heading, row = table.rows
    assert heading == ["query, 1 shot, 1 class"]
    assert row[:3] == ["  bundle", str(count), "1.00"]
    assert row[6] == tails
    if count == 100:
        assert row[3:6] + row[7:] == ["50.5", "50.5", "29.0", "19.8"]


def test_every_row_has_a_cell_for_every_column_or_is_a_heading(measured) -> None:
    names = {"bundle": {}, "torch": {}, "whole": {"caches_support": False}}
    for table in report.tables(measured(names, "torch", classes=(1, 2))):
        assert {len(row) for row in table.rows} <= {1, len(table.columns)}, table.title


def test_a_query_that_is_a_whole_episode_says_so(measured) -> None:
    result = measured({"bundle": {}, "whole": {"caches_support": False}}, shots=(1,))
    table = report.latencies(result)
    (query,) = rows_of(table, "whole *")
    assert table.rows.index(query) == table.rows.index(["query, 1 shot, 1 class"]) + 2
    assert table.footnotes == ["* keeps nothing of the supports: its query is the whole episode"]
    assert len(rows_of(table, "whole")) == 1  # the episode; there is no row of supports
    assert any("whole *" in row[0] for row in report.query_ratios(result).rows)
    assert report.latencies(measured({"bundle": {}})).footnotes == []


def test_accuracy_stands_beside_the_times(measured) -> None:
    names = {"bundle": {"swapped": True}, "torch": {}}
    table = report.accuracy(measured(names, "torch", shots=(1,)))
    assert rows_of(table, "torch") == [["torch", "100.00", "-", "-"]]
    ((_, mean_iou, changed, _),) = rows_of(table, "bundle")
    assert float(mean_iou) < 1
    assert changed == "100.0000 %"
    assert "3 annotated photographs" in table.footnotes[0]
    assert "against torch, on 7 photographs" in table.footnotes[1]


def test_what_was_not_measured_has_no_table(measured) -> None:
    result = measured({"bundle": {}}, shots=(1,))
    assert report.query_ratios(result) is None
    assert report.growth(result) is None


def test_memory_is_told_or_why_not(measured) -> None:
    result = measured({"bundle": {}}, shots=(1,))
    (record,) = result.contenders
    assert any("memory of bundle: not asked for" in n for n in report.openings(result).footnotes)
    known = {"imported": 2**20, "opened": 50 * 2**20, "support": 2**30, "query": 3 * 2**29}
    table = report.openings(replace(result, contenders=[replace(record, memory=known)]))
    assert table.rows[0][-3:] == ["50 MiB", "1.0 GiB", "1.5 GiB"]
    table = report.openings(
        replace(result, contenders=[replace(record, memory={"whole": 70 * 2**20})])
    )
    assert table.rows[0][-3:] == ["-", "-", "70 MiB"]
    assert any("peak of the whole process" in note for note in table.footnotes)


def test_the_heading_says_what_is_not_recorded(measured) -> None:
    result = measured({"bundle": {}}, shots=(1,))
    unknown = result.environment | {"cpu": None, "governor": None, "gpu": None}
    lines = report.heading(replace(result, environment=unknown))
    text = "\n".join(lines)
    assert "processor    not recorded" in text
    assert "governor not recorded" in text
    assert "GPU          not recorded" in text
    assert "command      arnet bench horse.bundle" in lines
    assert "sha256 0123456789ab…, device cpu" in text


def test_the_parity_of_the_manifest_is_told_value_by_value() -> None:
    values = {"end_to_end": {"changed": 0.00123, "passed": True}, "worst": [1, 2], "episodes": 10}
    expected = "end_to_end.changed 0.00123 · end_to_end.passed True · episodes 10"
    assert report.parity(values) == expected


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01234, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")]
)
def test_three_digits_are_enough(value: float, shown: str) -> None:
    assert wording.three_digits(value) == shown
