"""``arnet infer``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arnet.cli import console

if TYPE_CHECKING:
    from arnet.runtime.results import Result


def infer(
    support: Annotated[
        Path,
        typer.Option(
            help="Folder of annotated photographs of the thing: a.jpg with a.png (mask), a.json "
            "(labelme, COCO, SAM) or a.xml (VOC boxes); images/ and masks/; one COCO file; or a "
            "sub-folder per class.",
            show_default=False,
        ),
    ],
    query: Annotated[
        str,
        typer.Option(
            help="Photograph, folder or quoted pattern ('photos/*.jpg') to segment.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        Path,
        typer.Option(help="checkpoint.safetensors of arnet train.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/infer"),
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Class to segment, where the folder has several; repeat it for more, 'all' for "
            "all of them.",
            show_default=False,
        ),
    ] = None,
    annotation: Annotated[
        Literal["as-is", "box"], typer.Option(help="'box' reduces masks to their boxes.")
    ] = "as-is",
    figure: Annotated[
        bool,
        typer.Option("--figure", help="Also draw supports, query, q1, s and q2 side by side."),
    ] = False,
    prob: Annotated[
        bool,
        typer.Option("--prob", help="Also write probabilities (float16 .npy, a map per class)."),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=33, help="Side that images are resized to; by default that of the training."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    r"""Cut a thing out of photographs, from a few examples.

    Writes for each photograph NAME_mask.png in its own size (0 and 255; with
    several classes their numbers) and NAME_overlay.png, and results.json.

    Example:
      arnet infer --checkpoint runs/train/checkpoint.safetensors \
        --support examples/horse --query examples/queries
    """
    from arnet.runtime.images import find_images
    from arnet.runtime.inference import Outputs, read_classes
    from arnet.runtime.inference import infer as run

    queries = find_images(query)
    classes = read_classes(support, label or [], annotation)
    for name, members in classes.items():
        plural = "" if len(members) == 1 else "s"
        console.out.print(f"{name}: {len(members)} support{plural}", markup=False, style="bold")
        for member in members:
            console.out.print(f"  {member.source}", markup=False)

    console.need_torch()
    from arnet.segmenter import TorchSegmenter

    segmenter = TorchSegmenter.load(checkpoint, device, size)
    with console.progress_bar() as bar:
        task = bar.add_task("segmenting", total=len(queries))

        def done(result: Result) -> None:
            bar.advance(task)

        results = run(segmenter, classes, queries, out, Outputs(prob, figure), done)
    _show(results)
    console.out.print(f"\nWritten to {out}: masks, overlays and results.json", markup=False)
    viewer = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    console.next_command(viewer, out / f"{results[0].path.stem}_overlay.png")


def _show(results: list[Result]) -> None:
    from rich.table import Table

    table = Table("photograph", "class", "area", "score", "seconds", box=None)
    for result in results:
        height, width = result.size
        for segment in result.segments:
            table.add_row(
                result.path.name,
                segment.label,
                f"{100 * segment.area / (height * width):.1f} %",
                "" if segment.score is None else f"{segment.score:.2f}",
                f"{result.seconds['total']:.2f}",
            )
    console.out.print(table)
