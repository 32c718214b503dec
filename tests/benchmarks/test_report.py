"""The page says what the JSON says, no more: what has not run has no figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.drive import STEPS
from benchmarks.report import DOCS, NOTHING, found, line, main, number, page, write
from benchmarks.rows import ROWS, Row, verdict


def results(**rows: dict) -> dict:
    step = {"status": "done", "seconds": 1, "error": "", "rows": {}, "facts": {}}
    found = {**NOTHING, "date": "2030-01-01", "steps": {}}
    for name, row in rows.items():
        name = name.replace("__", "/").replace("_", "-") if name not in ROWS else name
        found["steps"].setdefault(ROWS[name].step, {**step, "rows": {}})["rows"][name] = row
    return found


def whole(**rows: dict) -> dict:
    """Results in which every step ran."""
    found = results(**rows)
    step = {"status": "done", "seconds": 1, "error": "", "rows": {}, "facts": {}}
    return {**found, "steps": {name: found["steps"].get(name, step) for name in STEPS}}


def test_the_page_in_docs_is_made_from_its_json() -> None:
    stored = json.loads((DOCS / "gpu-results.json").read_text(encoding="utf-8"))
    assert (DOCS / "gpu-results.md").read_text(encoding="utf-8") == page(stored)


def test_every_row_that_has_not_run_says_so() -> None:
    text = page(NOTHING)
    assert "Nothing of this has run on a GPU yet" in text
    assert text.count("| not yet run |") == len(ROWS)
    for row in ROWS.values():
        assert f"| {row.what} |" in text
        assert row.step in STEPS


@pytest.mark.parametrize(
    "text",
    [
        "device time, fp16 | ≤ 1 ms |",
        "host to host, fp16 | ≤ 1.5 ms |",
        "faster than torch eager fp32 as drawn, supports included, host to host | ≥ 10 x |",
        "faster than torch.compile fp16 as drawn, support features cached, host to host | ≥ 3 x |",
        "`masked_pool` fp16, larger than the L2, k = 5, of the copy bandwidth | ≥ 60 % |",
        "`masked_shift_sum` fp16, larger than the L2, k = 1, of the copy bandwidth | ≥ 60 % |",
        "`masked_shift_sum` fp16, batch 1, k = 5, over (launch + 2 floors) | ≤ 1 x |",
        "`forget_enhance` fp16, the stack for k = 5 | < 20 µs |",
        "allocations by torch's allocator | ≤ 0 |",
        "synchronisations but the one that waits for the answer | ≤ 0 |",
        "`arnet export --engine fp8`: census and parity gate |",
        "`postprocess_labels`, racecheck |",
    ],
)
def test_the_targets_of_the_design_stand_there(text: str) -> None:
    assert f"| {text}" in page(NOTHING)


def test_golden_lines() -> None:
    row = Row("", "a | b", "query", "ms", ("<=", 1.0))
    assert line(row, {"value": 0.8712, "passed": True, "detail": "why"}) == (
        "| a \\| b | ≤ 1 ms | 0.871 ms | yes | why |\n"
    )
    assert "| 1.23 ms | **no** |" in line(row, {"value": 1.234, "passed": False, "detail": ""})
    assert line(row, {"error": "X: y"}) == "| a \\| b | ≤ 1 ms | failed | no | X: y |\n"
    assert line(row, {"skipped": "none here"}).endswith("| not yet run |  | none here |\n")
    # Of a rehearsal no figure is told.
    rehearsed = line(row, {"value": 0.5, "passed": True, "detail": "0.5 ms"}, rehearsed=True)
    assert rehearsed == "| a \\| b | ≤ 1 ms | rehearsed |  |  |\n"


def test_the_verdict_follows_from_the_target() -> None:
    assert [verdict(Row("", "", "", "", ("<", 20.0)), value) for value in (19.9, 20.0)] == [1, 0]
    assert [verdict(ROWS["query/eager"], value) for value in (9.9, 10.0)] == [False, True]
    assert verdict(ROWS["query/enqueue"], 1.0) is None
    assert verdict(ROWS["query/host"], None) is None
    assert verdict(ROWS["query/host"], float("nan")) is False


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.5, "0.5"), (12.345, "12.3"), (4312.7, "4313"), (1.2e-6, "1.2e-06")],
)
def test_golden_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("target", "value", "text"),
    [
        (("<=", 1.0), 1.0029, "1.003"),
        (("<=", 1.0), 1.00004, "1.00004"),
        (("<=", 1.0), 0.9996, "1"),  # which reaches it as well
        (("<", 20.0), 19.98, "19.98"),
        ((">=", 60.0), 59.97, "59.97"),
        (("<=", 500.0), 500.2, "500.2"),
        (("<=", 1e-3), 1.0004e-3, "0.0010004"),
        (("<=", 1.0), float("nan"), "nan"),
        (None, 1.0029, "1"),
    ],
)
def test_a_number_is_on_the_side_of_its_target_that_the_verdict_says(
    target: tuple[str, float] | None, value: float, text: str
) -> None:
    row = Row("", "", "query", "ms", target)
    passed = verdict(row, value)
    assert verdict(row, float(text)) == passed
    assert f"| {text} ms |" in line(row, {"value": value, "passed": passed})


def test_a_step_that_was_stopped_before_a_row_has_not_run_it() -> None:
    given = results(query__device={"value": 0.5, "passed": True, "detail": ""})
    given["steps"]["query"] |= {"status": "stopped", "error": "stopped after 110 s"}
    assert found(given, "query/device")["value"] == 0.5
    assert found(given, "query/host") == {"skipped": "stopped after 110 s"}
    text = page(given)
    assert "| host to host, fp16 | ≤ 1.5 ms | not yet run |  | stopped after 110 s |" in text
    assert "| query | stopped: stopped after 110 s | 1 |" in text


def test_a_step_that_failed_before_a_row_failed_it() -> None:
    given = results(query__device={"value": 0.5, "passed": True, "detail": ""})
    given["steps"]["query"] |= {"status": "failed", "error": "ended by signal 11"}
    assert found(given, "query/host") == {"error": "ended by signal 11"}


def test_a_row_that_another_step_had_found_is_still_shown() -> None:
    row = {"value": 3, "passed": True, "detail": ""}
    given = results(query__device={"value": 0.5, "passed": True, "detail": ""})
    given["steps"]["query"]["rows"]["tests/plans"] = row
    assert ROWS["tests/plans"].step != "query" and found(given, "tests/plans") == row


def test_it_is_written_to_docs_unless_it_is_a_rehearsal(tmp_path: Path) -> None:
    given = whole(query__device={"value": 0.5, "passed": True, "detail": ""})
    write(given, tmp_path)
    assert json.loads((tmp_path / "gpu-results.json").read_text()) == given
    assert "| device time, fp16 | ≤ 1 ms | 0.5 ms | yes |" in (
        tmp_path / "gpu-results.md"
    ).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="rehearsal"):
        write({**given, "dry_run": True}, tmp_path)
    with pytest.raises(ValueError, match="no result"):
        write({"format": "arnet-benchmark"}, tmp_path)
    assert "rehearsal on a processor: nothing below is a figure" in page({**given, "dry_run": True})


def test_what_is_not_of_all_steps_leaves_docs_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    write(whole(), docs)
    before = {path.name: path.read_bytes() for path in docs.iterdir()}
    row = {"value": 0.5, "passed": True, "detail": ""}
    late = whole(query__device=row)
    late["steps"]["tensorrt"] = {**late["steps"]["tensorrt"], "status": "skipped"}
    for given, reason in (
        (results(query__device=row), "have not run: environment, "),
        (late, "have not run: tensorrt\n"),
        ({**whole(query__device=row), "dry_run": True}, "a rehearsal"),
    ):
        (tmp_path / "results.json").write_text(json.dumps(given))
        assert main([str(tmp_path / "results.json")], docs) == 0
        told = capsys.readouterr().out
        assert told.startswith("docs/ stay as they are: ") and reason in told
        assert {path.name: path.read_bytes() for path in docs.iterdir()} == before
    (tmp_path / "results.json").write_text(json.dumps(whole(query__device=row)))
    assert main([str(tmp_path / "results.json")], docs) == 0
    assert "Written" in capsys.readouterr().out
    assert (docs / "gpu-results.md").read_bytes() != before["gpu-results.md"]


def test_without_results_the_page_is_written_again_from_its_json(tmp_path: Path) -> None:
    for name in ("gpu-results.json", "gpu-results.md"):
        (tmp_path / name).write_bytes((DOCS / name).read_bytes())
    (tmp_path / "gpu-results.md").write_text("edited")
    assert main([], tmp_path) == 0
    for name in ("gpu-results.json", "gpu-results.md"):
        assert (tmp_path / name).read_bytes() == (DOCS / name).read_bytes()


def test_what_is_no_result_fails_and_leaves_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, docs = tmp_path / "results.json", tmp_path / "docs"
    docs.mkdir()
    with pytest.raises(TypeError):
        write(whole(query__device={"value": "fast", "passed": True, "detail": ""}), docs)
    assert list(docs.iterdir()) == []
    for text in ("{", json.dumps({"format": "arnet-benchmark"})):
        path.write_text(text)
        assert main([str(path)], docs) == 2
        assert capsys.readouterr().err.startswith(f"error: {path}: ")
        assert list(docs.iterdir()) == []
    (docs / "gpu-results.md").mkdir()  # in the way
    path.write_text(json.dumps(whole()))
    assert main([str(path)], docs) == 2
    assert "could not be written" in capsys.readouterr().err


def test_the_command_and_the_commit_stand_on_the_page_where_they_are_known() -> None:
    given = whole()
    assert "\nRun on 2030-01-01.\n" in page(given)
    told = page({**given, "command": "python -m benchmarks.drive --out o", "commit": "abc-dirty"})
    ran = "Run on 2030-01-01 by `python -m benchmarks.drive --out o` at commit abc-dirty."
    assert f"\n{ran}\n" in told
    assert "\nRun on 2030-01-01.\n" in page({**given, "command": "", "commit": None})
