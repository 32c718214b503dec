"""The picture: it is drawn, it shows the times, and it is refused in time."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.benchmark.plot import check, draw
from arnet.runtime.errors import MissingDependencyError, OutputError

pytest.importorskip("matplotlib")
NAMES = {"bundle": {}, "whole": {"caches_support": False, "learning": 0.002}}


def test_a_picture_is_drawn_with_a_panel_for_the_stages_and_one_for_each_growth(
    measured, tmp_path: Path
) -> None:
    widths = []
    for number, changes in enumerate(({"shots": (1,)}, {}, {"classes": (1, 2)})):
        path = tmp_path / f"{number}.png"
        draw(measured(NAMES, **changes), path)
        with Image.open(path) as image:
            widths.append(image.width)
            assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert widths == sorted(set(widths))


def test_the_words_of_the_picture(measured, tmp_path: Path) -> None:
    result = measured(NAMES)
    noise = replace(result, photographs=result.photographs | {"synthetic": True})
    draw(noise, tmp_path / "bench.svg")
    # matplotlib draws letters as outlines and leaves the text as comments.
    words = "\n".join(re.findall(r"<!-- (.*?) -->", (tmp_path / "bench.svg").read_text()))
    for expected in ("wait", "compare", "other", "query: bundle", "query: whole *", "shots"):
        assert expected in words
    assert "* the whole episode: nothing of the supports is kept" in words
    assert "NOISE INSTEAD OF PHOTOGRAPHS" in words
    assert "stages, shots 2, classes 1" in words


def test_a_format_that_is_not_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"suffix '\.docx'") as caught:
        check(tmp_path / "bench.docx")
    assert caught.value.hint == "end it in .png"


def test_matplotlib_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("matplotlib", "matplotlib.backend_bases"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError) as caught:
        check(tmp_path / "bench.png")
    assert caught.value.hint == "in a checkout of arnet: pip install '.[plot]'"
