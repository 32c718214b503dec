"""The parts of ``arnet infer``, in their order: what it reads, learns, segments and shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arnet.cli import console
from arnet.cli.pace import Teller
from arnet.runtime import shipped
from arnet.runtime.errors import ConfigError, EngineError, ImageError

if TYPE_CHECKING:
    from rich.table import Table

    from arnet.runtime.finding import Query
    from arnet.runtime.inference import Learned, Unread
    from arnet.runtime.outputs.pictures import Outputs
    from arnet.runtime.outputs.results import Result
    from arnet.runtime.segmentation import FewShotSegmenter
    from arnet.runtime.supports import AnnotationUse, Support

_SAID = "segmenting: {{done}} of {{total}} {}"
_QUIET = 10.0
"""Seconds that work may take without a line that says how far it is."""

CHECKPOINT_ENGINES = ("torch", "torch-kernels")
"""What runs a checkpoint: the model as it is, or factorised, with our kernels on a GPU."""


def find_queries(queries: Sequence[str], video: Path | None) -> list[Query]:
    """Photographs to segment, each once; a video is only opened, to be told early if it is none."""
    from arnet.runtime import finding

    found = finding.find_queries(queries)
    if video is not None:
        from arnet.runtime.video import VideoReader

        with VideoReader(video):
            pass
    return found


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
        learned = inference.learn(segmenter, classes, folders)
        fused = segmenter.describe().get("fused_shots")
        for name, members in classes.items():
            if fused is not None and len(members) > fused:
                console.out.print(
                    f"note: {name} has {len(members)} supports; the vector that refines the mask"
                    f" is fused from the last {fused} of them",
                    style="yellow",
                )
        return learned
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
    queries: Sequence[Query],
    out: Path,
    outputs: Outputs,
) -> Path:
    """Segment photographs and list what was found; returns the overlay that shows most of it.

    Raises:
        ImageError: one could not be read; the others are written.
    """
    from arnet.runtime import inference

    count = 0
    with console.progress_bar() as bar:
        tell = Teller(bar, "segmenting", _SAID.format("photographs"), _QUIET)

        def progress(one: Result | Unread) -> None:
            nonlocal count
            count += 1
            tell(count, len(queries))

        try:
            done = inference.infer(segmenter, learned, queries, out, outputs, progress)
        except KeyboardInterrupt:
            console.err.print(f"stopped: {count} of {len(queries)} photographs are in {out}")
            raise
    results = [one for one in done if not isinstance(one, inference.Unread)]
    unread = [one for one in done if isinstance(one, inference.Unread)]
    console.show_table(_table(results, unread, len(learned.states) > 1))
    console.out.print(f"\nWritten to {out}: masks, overlays and results.json")
    if unread:
        first = unread[0].error
        raise ImageError(
            f"{len(unread)} of {len(done)} photographs could not be read: {first.message}",
            f"{first.hint.rstrip('.')}; those that could are in {out}".removeprefix("; "),
        )
    return out / f"{max(results, key=_shown).name}_overlay.png"


def _table(results: Sequence[Result], unread: Sequence[Unread], several: bool) -> Table:
    """What was found; the numbers of several classes in the masks, a single one is white."""
    from rich.table import Table

    value = ("value",) if several else ()
    table = Table("photograph", "class", *value, "area", "score", "seconds", box=None)
    for result in results:
        height, width = result.size
        for segment in result.segments:
            table.add_row(
                f"{result.name}{result.path.suffix}",
                segment.label,
                *((str(segment.value),) if several else ()),
                f"{100 * segment.area / (height * width):.1f} %",
                "" if segment.score is None else f"{segment.score:.2f}",
                f"{result.seconds['total']:.2f}",
            )
    for one in unread:
        table.add_row(f"{one.query.name}{one.query.path.suffix}", "not read")
    return table


def _shown(result: Result) -> float:
    """How much a picture tells: the scores of its classes, less where one is under 1 %."""
    pixels = result.size[0] * result.size[1]
    return sum((one.score or 0) * min(1, 100 * one.area / pixels) for one in result.segments)


def segment_video(
    segmenter: FewShotSegmenter[Any],
    learned: Learned[Any],
    video: Path,
    out: Path,
    masks: bool,
) -> Path:
    """Segment a video and say how much was found; returns the overlay."""
    from rich.table import Table

    from arnet.runtime.video import infer_video

    with console.progress_bar() as bar:
        tell = Teller(bar, "segmenting", _SAID.format("frames"), _QUIET)
        result = infer_video(segmenter, learned, video, out, tell, masks)
    height, width = result.size
    several = masks and len(result.areas) > 1
    value = ("value",) if several else ()
    table = Table("class", *value, "mean area", "frames with it", box=None)
    for name, areas in result.areas.items():
        mean = 100 * result.mean_areas[name] / (height * width)
        numbers = (str(result.values[name]),) if several else ()
        table.add_row(name, *numbers, f"{mean:.1f} %", f"{sum(area > 0 for area in areas)}")
    console.out.print(
        f"{video.name}: {result.frames} frames, {result.seconds['total']:.3f} seconds each",
    )
    console.show_table(table)
    for note in result.notes:
        console.out.print(f"note: {note}", style="yellow")
    overlay = out / f"{video.stem}_overlay.mp4"
    of_frames = f", {video.stem}_masks/" if masks else ""
    console.out.print(f"\nWritten to {out}: {overlay.name}{of_frames} and results.json")
    return overlay
