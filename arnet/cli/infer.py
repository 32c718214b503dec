"""``arnet infer``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from arnet.cli import console, inference
from arnet.runtime import shipped
from arnet.runtime.errors import ConfigError
from arnet.runtime.finding import is_image

EXAMPLE = "arnet infer --support examples/horse --query examples/queries"


def infer(
    context: typer.Context,
    support: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of annotated photographs of the thing: a.jpg with a.png (mask), a.json "
            "(labelme, COCO, SAM), a.xml (VOC boxes) or a.txt (YOLO); images/ with masks/ or "
            "labels/; one COCO file; or a sub-folder per class. Repeat it for several things at "
            "once.",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            help="Photograph, folder or quoted pattern ('photos/*.jpg') to segment; repeat it for "
            "more.",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="Video to segment frame by frame, in place of --query."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="checkpoint.safetensors of arnet train, or the name of one that comes with "
            "arnet; it needs torch.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Bundle of arnet export, or the name of one that comes with arnet.",
            show_default=f"{shipped.DEFAULT}, unless there is a checkpoint",
        ),
    ] = None,
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
    save_state: Annotated[
        Path | None,
        typer.Option(
            help="Keep what the bundle learned of the class in this .npz.", show_default=False
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="FILE of --save-state, in place of --support; NAME=FILE names the class, and "
            "repeated it gives several.",
            show_default=False,
        ),
    ] = None,
    figure: Annotated[
        bool,
        typer.Option("--figure", help="Also draw supports, query, q1, s and q2 side by side."),
    ] = False,
    cutout: Annotated[
        bool,
        typer.Option(
            "--cutout", help="Also write the thing alone, on a transparent ground, as PNG."
        ),
    ] = False,
    coco: Annotated[
        bool,
        typer.Option(
            "--coco",
            help="Also write annotations.json (COCO): to correct in a labelling tool, or, beside "
            "the photographs, to serve as --support.",
        ),
    ] = False,
    prob: Annotated[
        bool,
        typer.Option("--prob", help="Also write probabilities (float16 .npy, a map per class)."),
    ] = False,
    masks: Annotated[
        bool,
        typer.Option(
            "--masks", help="Of a video, also write the mask of each frame: NAME_masks/00000.png."
        ),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=33,
            help="Side that a checkpoint resizes images to; by default that of the training.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Of a checkpoint: cpu, cuda or cuda:1; by default the best there is."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="What runs a bundle: auto (the default), tensorrt, onnx-cuda, onnx. What runs a "
            "checkpoint: torch (the default), torch-kernels."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "bf16"] | None,
        typer.Option(help="Of torch-kernels, by default fp32.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processor threads of a bundle; by default one per core, at most 16."
        ),
    ] = None,
) -> None:
    r"""Cut a thing out of photographs or a video, from a few examples.

    Writes for each photograph NAME_mask.png in its own size (0 and 255; with
    several classes their numbers, which the table and results.json list as
    "value") and NAME_overlay.png, and results.json; for a video NAME_overlay.mp4 and results.json.
    Of a pattern that searches folders ('photos/**/*.jpg'), NAME keeps the folders. A photograph
    that cannot be read does not stop the others: it is told at the end, with exit code 2.

    Examples:
      arnet infer --support examples/horse --query examples/queries
      arnet infer --support examples/horse --support examples/dog \
        --query examples/queries
      arnet infer --checkpoint runs/train/checkpoint.safetensors \
        --support examples/horse --query examples/queries
      arnet infer --bundle horse.bundle --support examples/horse \
        --save-state horse.npz --query examples/queries
      arnet infer --bundle horse.bundle --state horse.npz --video ride.mp4
    """
    from arnet.runtime.outputs.folder import check_out
    from arnet.runtime.outputs.pictures import Outputs, check_names

    query = [word for word in query or [] if word]  # "" would be the folder of the shell
    if not checkpoint and not bundle:
        bundle = Path(shipped.DEFAULT)
    if context.args:
        raise _left_over(context.args)
    _one_of({"--checkpoint": checkpoint, "--bundle": bundle}, "what to segment with")
    _one_of({"--support": support, "--state": state}, "what to look for")
    _one_of({"--query": query, "--video": video}, "what to segment")
    if bundle:
        console.not_with("--bundle", {"--size": size, "--device": device, "--precision": precision})
    else:
        of_bundles = {"--threads": threads, "--state": state}
        console.not_with("--checkpoint", {**of_bundles, "--save-state": save_state})
    if len(support or []) > 1 and label and label != ["all"]:
        raise ConfigError(
            "--label chooses among the classes of one folder, and there are several --support",
            "leave --label out, take every class of every folder with --label all, or give the"
            " folder of that class alone",
        )
    if state:
        boxes = annotation == "box"
        of_supports = {"--label": label, "--annotation": boxes, "--figure": figure}
        console.not_with("--state", {**of_supports, "--save-state": save_state})
    if video:
        pictures = {"--figure": figure, "--prob": prob, "--cutout": cutout}
        console.not_with("--video", {**pictures, "--coco": coco})
    else:
        console.not_with("--query", {"--masks": masks})

    console.check_folder(out)
    console.check_files(save_state)
    if save_state is not None and save_state.resolve() in (out.resolve(), *out.resolve().parents):
        raise ConfigError(
            f"--save-state {save_state} and --out {out} would be a file and a folder of one name",
            "choose another --out, or end the name of the state in .npz",
        )
    queries = inference.find_queries(query, video)
    classes = (
        inference.read_classes(support, label or [], annotation, save_state) if support else {}
    )
    check_names(queries)
    check_out(out, queries, classes, support or [])
    segmenter = inference.open_segmenter(
        checkpoint, bundle, engine, threads, device, size, precision
    )
    learned = inference.learn(segmenter, classes, support or [], state or [])
    if save_state is not None:
        (kept,) = learned.states.values()
        kept.save(save_state)
        console.out.print(f"What was learned is in {save_state}: --state {save_state}")
    if video is not None:
        written = inference.segment_video(segmenter, learned, video, out, masks)
    else:
        written = inference.segment_photographs(
            segmenter, learned, queries, out, Outputs(prob, figure, cutout, coco)
        )
    console.next_is_to_view(written)


def _left_over(words: Sequence[str]) -> ConfigError:
    """What stands behind no option: mostly the rest of a pattern that the shell expanded."""
    found = f"no option takes {words[0]}" + f" and {len(words) - 1} more words" * (len(words) > 1)
    photographs = [path for path in map(Path, words) if is_image(path)]
    pattern = photographs[0].with_name(f"*{photographs[0].suffix}") if photographs else None
    return ConfigError(
        found,
        f"quote a pattern, or the shell replaces it by the files: --query '{pattern}'"
        if pattern
        else "arnet infer --help lists the options; the values of several are given one by one,"
        " --query A --query B",
    )


def _one_of(options: Mapping[str, object], what: str) -> None:
    """Exactly one of some options is needed."""
    given = [name for name, value in options.items() if value]
    if not given:
        raise ConfigError(f"{' or '.join(options)} is needed: {what}", f"for example: {EXAMPLE}")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} both say {what}", f"leave {given[1]} out")
