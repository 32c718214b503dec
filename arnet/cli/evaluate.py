"""``arnet eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from arnet.cli import console, eval_output
from arnet.cli.next_steps import export_command
from arnet.cli.pace import Teller
from arnet.runtime import shipped


def evaluate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Keys of the data that have no option, such as data.annotations=voc (PASCAL "
            "without SBD) or data.year=2017 (of COCO).",
            show_default=False,
        ),
    ] = None,
    *,
    checkpoint: Annotated[
        Path,
        typer.Option(
            help="checkpoint.safetensors of arnet train, or the name of one that comes with arnet.",
            show_default=False,
        ),
    ],
    data: Annotated[str, typer.Option(help="Folder of the data set.", show_default=False)],
    kind: Annotated[
        Literal["pascal", "coco", "folder", "davis"] | None,
        typer.Option(help="Kind of the data set; by default the one trained on."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=3,
            help="Fold to evaluate, the paper's split minus 1; by default the one held out in "
            "training.",
        ),
    ] = None,
    protocol: Annotated[
        Literal["standard", "canet"],
        typer.Option(help="Rules of the evaluation; docs/results.md tells them apart."),
    ] = "standard",
    shots: Annotated[int, typer.Option(min=1, help="Supports of each episode, k.")] = 1,
    annotation: Annotated[
        Literal["mask", "box"], typer.Option(help="What the supports are given with.")
    ] = "mask",
    fusion: Annotated[
        Literal["cmm", "attention", "mask", "mean"] | None,
        typer.Option(help="How k shots are joined, in place of the checkpoint's way (Table 6)."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Other ways to join the shots on the same episodes, with commas: q2 of each is "
            "one more column, and costs little."
        ),
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(help="Parts to leave out: mpm1, mpm2, mrm, with commas (Table 5)."),
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Strength of the model's prior, in place of the checkpoint's."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="Names of classes, with commas or by several --classes; 'voc/*' is all of a kind "
            "that have images enough. By default all that were held out.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=33,
            help="Side of the model's image; by default that of the training. Not with "
            "--protocol canet.",
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes of a run, in place of the protocol's.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of runs, in place of the protocol's.")
    ] = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            help="Also what needs no training, on the same episodes: mean features, and the "
            "model's prior alone, if it has one.",
        ),
    ] = False,
    absent: Annotated[
        bool,
        typer.Option(
            "--absent",
            help="Also ask each episode's supports about a photograph that does not show the "
            "class: how often, and how much, is marked there. --json has it for each class.",
        ),
    ] = False,
    cache: Annotated[
        str | None,
        typer.Option(help="Folder to keep the backbone's features in. Not with --protocol canet."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option(help="Of the computation.")
    ] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    json: Annotated[
        Path | None, typer.Option(help="Also write the result as JSON.", show_default=False)
    ] = None,
    episodes_json: Annotated[
        Path | None,
        typer.Option(
            help="Also write every episode as JSON, the worst first: class, query, supports, and "
            "IoU of q1, s and q2.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        int | None,
        typer.Option(
            min=1, help="Draw so many queries into --out, those with the lowest IoU of q2."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures of --show; runs/eval if none is named."),
    ] = None,
) -> None:
    r"""Measure mIoU and binary IoU of a checkpoint on classes it was not trained on.

    The masks q1, s and q2 are scored apart, and the paper's figure stands beside
    them. Where the data are not the full benchmark, it says so.

    Examples:
      arnet eval --checkpoint runs/fold2/checkpoint.safetensors --data .data \
        --shots 5 --baseline --json runs/fold2/5-shot.json
      arnet eval --checkpoint runs/fold2/checkpoint.safetensors --data .data \
        --classes person --show 10 --out runs/fold2/persons
    """
    console.check_files(json, episodes_json)
    if show is None:
        console.not_with("no --show", {"--out": out})
    else:
        out = out or Path("runs/eval")
        console.check_folder(out)
    console.need_torch()
    from dataclasses import replace

    from arnet.checkpoint import load_checkpoint
    from arnet.devices import PRECISIONS, choose_device
    from arnet.evaluation import opening, ranking, report
    from arnet.evaluation.data import check_overrides, data_config
    from arnet.evaluation.protocols import get_protocol
    from arnet.runtime.errors import ConfigError
    from arnet.runtime.files import write_json

    given = list(overrides or [])
    check_overrides(given)
    rules = get_protocol(protocol)
    if rules.size == "original" and (size is not None or cache is not None):
        raise ConfigError(
            f"protocol {protocol} takes every photograph in its own size, at several scales: "
            "there is no --size, and features are not kept in a --cache",
            "leave them out, or evaluate with --protocol standard",
        )
    if episodes is not None:
        rules = replace(rules, episodes=episodes)
    if seeds is not None:
        rules = replace(rules, seeds=tuple(range(seeds)))
    loaded = load_checkpoint(shipped.find(checkpoint, shipped.CHECKPOINT))
    changes: dict[str, Any] = {}
    if fusion is not None:
        changes["fusion"] = fusion
    if prior is not None:
        changes["prior"] = prior
    if without is not None:
        changes["without"] = [part for part in console.split_words(without) if part]
    if changes:
        loaded = opening.change_model(loaded, **changes)
    loaded.model.to(choose_device(device))
    request = opening.Request(
        rules,
        shots,
        annotation,
        tuple(classes or ()),
        baseline,
        PRECISIONS[precision],
        tuple(name for name in console.split_words(against or "") if name),
        absent,
    )
    settings = data_config(
        loaded, given, root=data, kind=kind, fold=fold, cache=cache, image_size=size
    )
    found: list[ranking.Found] = []
    keep = show is not None or episodes_json is not None
    with console.progress_bar() as bar:
        caching = Teller(bar, "caching features", "cached {done} of {total} photographs")
        evaluation = opening.open_evaluation(loaded, settings, request, caching)
        result = report.run(
            evaluation,
            Teller(bar, "queries", "scored {done} of {total} queries"),
            lambda seed, scored: found.append((seed, scored)) if keep else None,
        )
    found = ranking.worst_first(found)
    if json is not None:
        write_json(json, result)  # first: what goes wrong with the display loses nothing
    if episodes_json is not None:
        episodes_of = {name: result[name] for name in ("checkpoint_sha256", "data", "shots")}
        described = ranking.describe(found, evaluation.dataset)
        write_json(episodes_json, {**episodes_of, "episodes": described})
    eval_output.show(result)
    for path in (json, episodes_json):
        if path is not None:
            console.out.print(f"\nWritten to {path}")
    if show is not None and out is not None:
        eval_output.draw(evaluation, ranking.each_query_once(found, show), out)
        return console.next_is_to_view(out / "1.png")
    if checkpoint.is_file() and settings.data.kind == loaded.config.data.kind == "folder":
        most = 0 if classes or fold is not None else max(result["pairs"].values())
        words = export_command(checkpoint, Path(data), most)
    else:
        support_and_query = ("--support", "examples/horse", "--query", "examples/queries")
        words = ("arnet", "infer", "--checkpoint", checkpoint, *support_and_query)
    console.next_command(*words)
