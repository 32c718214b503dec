"""The parts of ``arnet infer``, in their order: what it reads, learns, segments and shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arnet.cli import console
from arnet.runtime import shipped
from arnet.runtime.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from arnet.runtime.inference import Learned, Outputs
    from arnet.runtime.results import Result
    from arnet.runtime.segmentation import FewShotSegmenter
    from arnet.runtime.supports import AnnotationUse, Support

CHECKPOINT_ENGINES = ("torch", "torch-kernels")
"""What runs a checkpoint: the model as it is, or factorised, with our kernels on a GPU."""


def find_queries(queries: Sequence[str], video: Path | None) -> list[Path]:
    """Photographs to segment, each once; a video is only opened, to be told early if it is none."""
    from arnet.runtime.finding import find_images

    found: dict[str, Path] = {}
    for query in queries:
        for path in find_images(query):
            # A folder may be named in several ways; a link stays a photograph of its own.
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100
    if video is not None:
        from arnet.runtime.video import VideoReader

        with VideoReader(video):
            pass
    return list(found.values())


def read_classes(
    folders: Sequence[Path], labels: Sequence[str], annotation: AnnotationUse, save: Path | None
) -> dict[str, list[Support]]:
    """Read the supports of one folder or several and say what was used of each."""
    from arnet.runtime import inference

    classes: dict[str, list[Support]] = {}
    for folder in folders:
        for name, members in inference.read_classes(folder, labels, annotation).items():
            if name in classes:
                raise ConfigError(
                    f"two folders hold the class {name}, the second is {folder}",
                    "put photographs of one class into one folder, or rename a folder",
                )
            classes[name] = members
    if save is not None and len(classes) > 1:
        raise ConfigError(
            f"--save-state keeps one class, and there are {len(classes)}: {', '.join(classes)}",
            f"give one --support, and if it holds several classes --label {next(iter(classes))}",
        )
    for name, members in classes.items():
        plural = "" if len(members) == 1 else "s"
        console.out.print(f"{name}: {len(members)} support{plural}", style="bold")
        for member in members:
            console.out.print(f"  {member.source}")
    return classes


def open_segmenter(
    checkpoint: Path | None,
    bundle: Path | None,
    engine: str | None,
    threads: int | None,
    device: str | None,
    size: int | None,
    precision: str | None,
) -> FewShotSegmenter[Any]:
    """Open the bundle, or else the checkpoint, for which alone torch is needed; say what runs it.

    An engine for the GPU that is installed and does not work is told, or nobody would notice that
    the processor computes.
    """
    refusals: list[str] = []

    def refused(name: str, error: EngineError) -> None:
        refusals.append(f"not {name}: {error.message}" + f" ({error.hint})" * bool(error.hint))

    segmenter: FewShotSegmenter[Any]
    if bundle is not None:
        from arnet.runtime.segmenter import Segmenter

        segmenter = Segmenter.load(bundle, engine or "auto", threads, refused=refused)
    else:
        assert checkpoint is not None
        segmenter = _open_checkpoint(checkpoint, engine, device, size, precision)
    described = segmenter.describe()
    console.out.print(f"engine {described.get('engine', 'torch')} on {described['device']}")
    for refusal in refusals:
        console.out.print(f"note: {refusal}", style="yellow")
    return segmenter


def _open_checkpoint(
    checkpoint: Path,
    engine: str | None,
    device: str | None,
    size: int | None,
    precision: str | None,
) -> FewShotSegmenter[Any]:
    if engine not in (None, *CHECKPOINT_ENGINES):
        raise ConfigError(
            f"--engine {engine} runs no checkpoint: {' and '.join(CHECKPOINT_ENGINES)} do",
            f"arnet export --checkpoint {checkpoint} makes a bundle, which other engines run",
        )
    if precision is not None and engine != "torch-kernels":
        raise ConfigError("--precision is for torch-kernels", "add --engine torch-kernels")
    path = shipped.find(checkpoint, shipped.CHECKPOINT)
    if engine == "torch-kernels":
        console.need_export()
        from arnet.export.torch_kernels import Options, TorchKernels

        return TorchKernels.load(path, device or "auto", size, Options(precision or "fp32"))  # type: ignore[arg-type]
    console.need_torch()
    from arnet.segmenter import TorchSegmenter

    return TorchSegmenter.load(path, device or "auto", size)


def learn(
    segmenter: FewShotSegmenter[Any],
    classes: dict[str, list[Support]],
    folders: Sequence[Path],
    states: Sequence[str],
) -> Learned[Any]:
    """Learn the classes, or read their states; a file without a name is called by its stem."""
    from arnet.runtime import inference
    from arnet.runtime.state import SupportState

    if not states:
        return inference.learn(segmenter, classes, folders)
    files: dict[str, Path] = {}
    for word in states:
        name, equals, file = word.partition("=")
        if not equals or Path(word).is_file():
            name, file = Path(word).stem, word
        if name in files:
            raise ConfigError(
                f"two states are called {name}: {files[name]} and {file}",
                f"name them: --state {name}1={files[name]} --state {name}2={file}",
            )
        files[name] = Path(file)
    read = {name: SupportState.load(file) for name, file in files.items()}
    return inference.Learned(read, {}, files)


def segment_photographs(
    segmenter: FewShotSegmenter[Any],
    learned: Learned[Any],
    queries: Sequence[Path],
    out: Path,
    outputs: Outputs,
) -> Path:
    """Segment photographs and list what was found; returns the overlay of the highest score."""
    from rich.table import Table

    from arnet.runtime import inference

    with console.progress_bar() as bar:
        task = bar.add_task("segmenting", total=len(queries))

        def done(result: Result) -> None:
            bar.advance(task)

        results = inference.infer(segmenter, learned, queries, out, outputs, done)
    # The numbers of several classes in the masks; a single one is white.
    several = len(learned.states) > 1
    value = ("value",) if several else ()
    table = Table("photograph", "class", *value, "area", "score", "seconds", box=None)
    for result in results:
        height, width = result.size
        for segment in result.segments:
            table.add_row(
                result.path.name,
                segment.label,
                *((str(segment.value),) if several else ()),
                f"{100 * segment.area / (height * width):.1f} %",
                "" if segment.score is None else f"{segment.score:.2f}",
                f"{result.seconds['total']:.2f}",
            )
    console.show_table(table)
    console.out.print(f"\nWritten to {out}: masks, overlays and results.json")
    # Of several classes, the scores add up: a picture that shows all of them tells the most.
    best = max(results, key=lambda result: sum(segment.score or 0 for segment in result.segments))
    return out / f"{best.path.stem}_overlay.png"


def segment_video(
    segmenter: FewShotSegmenter[Any], learned: Learned[Any], video: Path, out: Path
) -> Path:
    """Segment a video and say how much was found; returns the overlay."""
    from rich.table import Table

    from arnet.runtime.video import infer_video

    with console.progress_bar() as bar:
        task = bar.add_task("segmenting", total=None)
        result = infer_video(
            segmenter,
            learned,
            video,
            out,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    height, width = result.size
    table = Table("class", "mean area", "frames with it", box=None)
    for name, areas in result.areas.items():
        mean = 100 * result.mean_areas[name] / (height * width)
        table.add_row(name, f"{mean:.1f} %", f"{sum(area > 0 for area in areas)}")
    console.out.print(
        f"{video.name}: {result.frames} frames, {result.seconds['total']:.3f} seconds each",
    )
    console.show_table(table)
    for note in result.notes:
        console.out.print(f"note: {note}", style="yellow")
    overlay = out / f"{video.stem}_overlay.mp4"
    console.out.print(f"\nWritten to {out}: {overlay.name} and results.json")
    return overlay
