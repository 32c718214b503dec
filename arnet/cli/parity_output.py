"""What ``arnet export`` and ``arnet parity`` print of the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from arnet.cli import console

if TYPE_CHECKING:
    from arnet.export.parity import Parity


def show_parity(parity: Parity, json: Path | None) -> None:
    """Write the report if a file is named, and print it."""
    from rich.table import Table

    from arnet.runtime.files import write_json

    if json is not None:
        write_json(json, parity.to_json())  # first: what goes wrong with the display loses nothing
    table = Table("stage", "tensor", "largest", "p99", "of", box=None)
    for stage in parity.stages:
        table.add_row(
            stage.stage,
            stage.tensor,
            *(f"{value:.2g}" for value in (stage.largest, stage.p99, stage.scale)),
        )
    console.out.print(f"{parity.precision}, differences from the model:")
    console.show_table(table)
    bounds = parity.bounds
    most = "" if bounds.probability is None else f" (at most {bounds.probability:g})"
    together = "-" if parity.together is None else f"{100 * parity.together:.4f} %"
    gap = parity.mean_iou["bundle"] - parity.mean_iou["model"]
    for line in (
        f"\n{parity.episodes} episodes of {parity.source}:",
        f"  probability     largest {parity.probability_largest:.2g}{most}, "
        f"p99 {parity.probability_p99:.2g}",
        *(
            f"  of {name:<12} largest {largest:.2g}{most}"
            for name, largest in parity.others_largest.items()
        ),
        f"  changed pixels  {100 * parity.changed:.4f} % (at most {100 * bounds.changed:g} %), "
        f"worst episode {100 * parity.changed_most:.4f} %",
        f"  two classes     {together} changed pixels (at most {100 * bounds.together:g} %)",
        f"  masks           mean IoU {parity.mask_iou:.5f}, least {parity.mask_iou_least:.5f}",
        f"  mIoU            {parity.mean_iou['model']:.2f} -> {parity.mean_iou['bundle']:.2f} "
        f"({gap:+.3f}, at most ± {bounds.mean_iou:g})",
    ):
        console.out.print(line)
    if parity.passed:
        console.out.print("PASSED", style="bold green")
    else:
        console.out.print("FAILED", style="bold red")
        for failure in parity.failures:
            console.out.print(f"  {failure}")
