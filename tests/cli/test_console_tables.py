"""Tables in files and pipes are as wide as they want to be."""

from __future__ import annotations

import pytest
from rich.table import Table

from arnet.cli import console

NAMES = [f"column {number}" for number in range(12)]


@pytest.fixture
def table() -> Table:
    table = Table("", *NAMES, box=None)
    table.add_row("pottedplant [x] :smile:", *["33.4 ± 0.3"] * len(NAMES))
    return table


def test_no_line_wraps_where_there_is_no_terminal(table, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    console.show_table(table)
    header, row = capsys.readouterr().out.splitlines()
    assert all(name in header for name in NAMES)
    assert "pottedplant [x] :smile:" in row and row.count("33.4 ± 0.3") == len(NAMES)
    console.out.print(table)  # the negative control
    assert len(capsys.readouterr().out.splitlines()) > 2
