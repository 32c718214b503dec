"""``arnet eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from arnet.cli import console


def evaluate(
    checkpoint: Annotated[
        Path, typer.Option(help="checkpoint.safetensors of arnet train.", show_default=False)
    ],
    data: Annotated[str, typer.Option(help="Folder of the data set.", show_default=False)],
    fold: Annotated[
        int | None,
        typer.Option(help="Fold to evaluate; by default the one held out in training."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="'standard' or 'canet'; docs/results.md tells them apart.")
    ] = "standard",
    shots: Annotated[int, typer.Option(min=1, help="Supports of each episode, k.")] = 1,
    annotation: Annotated[
        str, typer.Option(help="What the supports are given with: 'mask' or 'box'.")
    ] = "mask",
    fusion: Annotated[
        str | None,
        typer.Option(help="cmm, attention or mask, in place of the checkpoint's (Table 6)."),
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(help="Parts to leave out: mpm1, mpm2, mrm, with commas (Table 5)."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of classes, with commas; by default all held out.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes of a run, in place of the protocol's.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of runs, in place of the protocol's.")
    ] = None,
    baseline: Annotated[
        bool,
        typer.Option("--baseline", help="Also the training-free baseline, on the same episodes."),
    ] = False,
    cache: Annotated[
        str | None, typer.Option(help="Folder to keep the backbone's features in.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    json: Annotated[
        Path | None, typer.Option(help="Also write the result as JSON.", show_default=False)
    ] = None,
) -> None:
    """Measure mIoU and binary IoU of a checkpoint on classes it was not trained on.

    The masks q1, s and q2 are scored apart; where the data are not the full benchmark, it says so.

    Example: arnet eval --checkpoint runs/fold2/checkpoint.safetensors --data .data --shots 5
    """
    _choose("--annotation", annotation, ("mask", "box"))
    _choose("--precision", precision, ("fp32", "bf16", "fp16"))
    console.need_torch()
    from dataclasses import replace

    from arnet.checkpoint import load_checkpoint
    from arnet.evaluation import report
    from arnet.evaluation.protocols import get_protocol
    from arnet.runtime.output import write_json
    from arnet.training.distributed import choose_device
    from arnet.training.trainer import PRECISIONS

    rules = get_protocol(protocol)
    if episodes is not None:
        rules = replace(rules, episodes=episodes)
    if seeds is not None:
        rules = replace(rules, seeds=tuple(range(seeds)))
    loaded = load_checkpoint(checkpoint)
    changes: dict[str, Any] = {}
    if fusion is not None:
        changes["fusion"] = fusion
    if without is not None:
        changes["without"] = [part for part in without.split(",") if part]
    if changes:
        loaded = report.change_model(loaded, **changes)
    loaded.model.to(choose_device(device))
    request = report.Request(
        rules,
        shots,
        "box" if annotation == "box" else "mask",
        tuple(classes.split(",")) if classes else (),
        baseline,
        PRECISIONS[precision],
    )
    settings = report.data_config(loaded, root=data, fold=fold, cache=cache)
    with console.progress_bar() as bar:
        caching = bar.add_task("caching features", total=None, visible=False)
        scoring = bar.add_task("episodes", total=None)
        result = report.run(
            loaded,
            settings,
            request,
            lambda done, total: bar.update(
                caching, completed=done, total=total, visible=done < total
            ),
            lambda done, total: bar.update(scoring, completed=done, total=total),
        )
    _show(result)
    if json is not None:
        write_json(json, result)
        console.out.print(f"\nWritten to {json}", markup=False)
    console.next_command(
        f"arnet infer --checkpoint {checkpoint} --support examples/horse --query examples/queries"
    )


def _choose(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise typer.BadParameter(f"choose one of {', '.join(allowed)}", param_hint=option)


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    protocol = result["protocol"]
    console.out.print(
        f"{result['data']}, protocol {protocol['name']}: {protocol['episodes']} episodes x "
        f"{len(protocol['seeds'])} seeds, {result['shots']}-shot, {result['annotation']}s",
        markup=False,
    )
    rows = {**result["scores"]}
    if "baseline" in result:
        rows["baseline"] = result["baseline"]
    names = list(result["pairs"])
    table = Table("", "mIoU", "binary IoU", *names, box=None)
    for name, row in rows.items():
        per_class = row["per_class"]
        table.add_row(
            name,
            _figure(row["mean_iou"]),
            _figure(row["binary_iou"]),
            *(_figure(per_class[c]) if c in per_class else "-" for c in names),
        )
    if result["paper"]:
        paper = result["paper"]["mean_iou_of_four_splits"]
        table.add_row("paper, mean of 4 splits", f"{paper:.1f}", *["-"] * (len(names) + 1))
    console.out.print(table)
    if result["note"]:
        console.out.print(f"note: {result['note']}", markup=False, style="yellow")


def _figure(value: dict[str, float]) -> str:
    return f"{value['mean']:.1f} ± {value['std']:.1f}"
