"""What ``arnet eval`` prints and draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arnet.cli import console

if TYPE_CHECKING:
    from arnet.evaluation.opening import Evaluation
    from arnet.evaluation.ranking import Found


def show(result: dict[str, Any]) -> None:
    """Print the table of an evaluation and what to know of it."""
    from rich.table import Column, Table

    from arnet.evaluation.absent import SPECK

    protocol = result["protocol"]
    annotation = {"mask": "masks", "box": "boxes"}[result["annotation"]]
    console.out.print(
        f"{result['data']}, protocol {protocol['name']}: {protocol['episodes']} episodes x "
        f"{len(protocol['seeds'])} seeds, {result['shots']}-shot, {annotation}",
    )
    columns = {**result["scores"]}
    columns |= {name: result[name] for name in ("baseline", "prior") if name in result}
    columns |= {f"q2, {name}": score for name, score in result.get("against", {}).items()}
    scores = list(columns.values())
    several = len(protocol["seeds"]) > 1

    def figure(value: dict[str, float] | None) -> str:
        if value is None:
            return "-"
        return f"{value['mean']:.1f}" + (f" ± {value['std']:.1f}" if several else "")

    table = Table("", Column("images", justify="right"), *columns, box=None)
    mean = [figure(score["mean_iou"]) for score in scores]
    if result["paper"]:
        table.add_column("paper")
        mean.append(f"{result['paper']['mean_iou_of_four_splits']:.1f}")
    table.add_row("mIoU", "", *mean)
    table.add_row("binary IoU", "", *(figure(score["binary_iou"]) for score in scores))
    for name, count in result["pairs"].items():
        table.add_row(
            f"  {name}", str(count), *(figure(score["per_class"].get(name)) for score in scores)
        )
    console.show_table(table)
    if "absent" in result:
        found = result["absent"]
        names = {"arnet": "q2", "baseline": "baseline", "prior": "prior"}
        table = Table("", *(names.get(name, f"q2, {name}") for name in found), box=None)
        table.add_row(
            f"% with more than {100 * SPECK:g} % marked",
            *(figure(one["queries"]) for one in found.values()),
        )
        table.add_row("% of the area marked", *(figure(one["area"]) for one in found.values()))
        console.out.print("photographs that do not show the class, where every mark is wrong:")
        console.show_table(table)
    if result["paper"]:
        console.out.print("paper: ARNet's mean of the four splits")
    for note in result["notes"]:
        console.out.print(f"note: {note}", style="yellow")


def draw(evaluation: Evaluation, found: Sequence[Found], out: Path) -> None:
    """Draw episodes into a folder, ``1.png`` the first, and list them.

    Raises:
        OutputError: a picture cannot be written.
    """
    from rich.table import Column, Table

    from arnet.evaluation import ranking
    from arnet.runtime.images import save_image

    masks = ("q1", "s", "q2")
    columns = (Column(name, justify="right") for name in masks)
    table = Table("", "class", "query", *columns, box=None)
    for number, (_, scored) in enumerate(found, start=1):
        path = out / f"{number}.png"
        save_image(path, ranking.draw(evaluation, scored), fast=True)
        iou = (scored.iou.get(name) for name in masks)
        episode = scored.episode
        table.add_row(
            path.name,
            evaluation.dataset.class_names[episode.class_id],
            episode.query,
            *("-" if value is None else f"{value:.1f}" for value in iou),
        )
    console.out.print(f"\nqueries with the lowest IoU of q2, in {out}:")
    console.show_table(table)
