"""What ``arnet bench`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arnet.cli import console

if TYPE_CHECKING:
    from arnet.runtime.benchmark import report
    from arnet.runtime.benchmark.result import BenchmarkResult


def drawn(path: Path) -> None:
    """Say where a picture is and how to look at it."""
    console.out.print(f"\nDrawn to {path}")
    console.next_is_to_view(path)


def show(result: BenchmarkResult) -> None:
    """Print a result: what was measured, the tables, the doubts."""
    from arnet.runtime.benchmark import report

    loud = "bold red" if result.photographs["synthetic"] else "yellow"
    for note in result.notes:
        console.out.print(f"note: {note}", style=loud)
    for line in report.heading(result):
        console.out.print(line)
    for table in report.tables(result):
        console.out.print()
        _show_table(table)
    if result.parity is not None:
        console.out.print(f"\nparity at export: {report.parity(result.parity)}")
    for warning in result.warnings:
        console.out.print(f"warning: {warning}", style="yellow")


def _show_table(table: report.Table) -> None:
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    console.out.print(table.title, style="bold")
    for number, column in enumerate(table.columns):
        # In a narrow terminal numbers are folded: cut short, they would be other numbers.
        side: Literal["left", "right"] = "left" if number < table.left else "right"
        shown.add_column(column, justify=side, no_wrap=number == 0, overflow="fold")
    for row in table.rows:
        shown.add_row(*row, style="bold" if len(row) == 1 else None)
    console.out.print(shown)
    for footnote in table.footnotes:
        console.out.print(footnote, style="dim")
