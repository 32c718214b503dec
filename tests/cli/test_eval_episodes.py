"""``arnet eval``, looked into: the worst queries, every episode, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

Evaluate = Callable[..., Any]


def test_the_worst_queries_are_drawn_and_all_episodes_written(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    options = ("--episodes-json", tmp_path / "all" / "episodes.json", "--show", 3)
    out, result = evaluate(*options, "--out", tmp_path / "worst")
    written = json.loads((tmp_path / "all" / "episodes.json").read_text())
    assert written["checkpoint_sha256"] == result["checkpoint_sha256"]
    episodes = written["episodes"]
    assert len(episodes) == 4 * 2
    q2 = [episode["iou"]["q2"] for episode in episodes]
    assert q2 == sorted(q2)
    assert {episode["class"] for episode in episodes} == {"disc", "ring"}
    pictures = sorted(path.name for path in (tmp_path / "worst").iterdir())
    assert pictures == ["1.png", "2.png", "3.png"]
    with Image.open(tmp_path / "worst" / "1.png") as picture:
        assert picture.width > 5 * 240  # support, query, q1, s and q2
    worst = next(line.split() for line in out.splitlines() if line.startswith(" 1.png"))
    assert worst[1:3] == [episodes[0]["class"], episodes[0]["query"]]
    assert worst[-1] == f"{q2[0]:.1f}"
    assert out.splitlines()[-1].endswith(str(tmp_path / "worst" / "1.png"))


def test_there_are_not_more_pictures_than_queries(evaluate: Evaluate, tmp_path: Path) -> None:
    evaluate("--show", 50, "--out", tmp_path / "worst", "--classes", "disc")
    assert len(list((tmp_path / "worst").iterdir())) == 2  # the photographs of discs


def test_where_nothing_can_be_written_nothing_is_evaluated(
    fails: Callable[..., str], tmp_path: Path
) -> None:
    """Whatever else is wrong: nothing has been read yet."""
    given = ("eval", "--checkpoint", tmp_path / "none", "--data", tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "not a folder" in fails(*given, "--show", 3, "--out", tmp_path / "file")
    assert "is a folder" in fails(*given, "--episodes-json", tmp_path)
    assert "leave --out out" in fails(*given, "--out", tmp_path / "worst")


def test_a_log_file_is_told_how_far_it_is(run, trained: Path, data: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", trained, "--data", data, "--cache", tmp_path / "cache")
    finished = run("eval", *options, "--episodes", 10, "--seeds", 2, "--baseline")
    lines = finished.err.splitlines()
    assert lines[0] == "cached 4 of 4 photographs"
    assert [line.partition(" queries")[0] for line in lines[1:]] == [
        f"scored {done} of 40" for done in range(4, 41, 4)
    ]
    assert lines[1].endswith("minutes left") and lines[-1] == "scored 40 of 40 queries"
