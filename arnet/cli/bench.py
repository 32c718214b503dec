"""``arnet bench``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from arnet.cli import bench_output, console
from arnet.runtime import shipped
from arnet.runtime.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from arnet.runtime.benchmark.scenarios import Contender
    from arnet.runtime.bundle import Bundle

Word = TypeVar("Word", bound=str)

TORCH = ("torch", "compile")
"""Contenders that compute what the checkpoint does, with which masks are compared."""

AGAINST = (*TORCH, "onnx-whole", "onnx-cached", "torch-kernels", "torch-kernels-compiled")
"""Every contender that ``arnet.export.references`` knows."""


KERNELS = "torch-kernels"
"""The contender that runs our kernels in torch."""


def bench(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle of arnet export.", show_default=False)
    ] = None,
    support: Annotated[
        Path | None,
        typer.Option(
            help="Folder of annotated photographs, or of such folders, one per class.",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            help="Photograph, folder or quoted pattern ('photos/*.jpg'); they are taken in turn.",
            show_default=False,
        ),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Noise in place of --support and --query.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            help=f"What to compare with, with commas: {', '.join(AGAINST)}. Needs --checkpoint.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint that the bundle was exported from.", show_default=False),
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the bundle.")] = "auto",
    device: Annotated[
        str, typer.Option(help="Where the contenders in torch compute: cpu or cuda.")
    ] = "cpu",
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Also measure torch-kernels without each kernel and without CUDA graphs.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each contender; by default as many as it likes."),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(help="Supports of each class, with commas; 1,5 where the bundle takes any."),
    ] = None,
    classes: Annotated[str, typer.Option(help="Numbers of classes, with commas.")] = "1",
    scenario: Annotated[
        str, typer.Option(help="support (learn), query (the state at hand), episode (both).")
    ] = "support,query,episode",
    duration: Annotated[
        float, typer.Option(min=0.0, help="Seconds to measure each contender in each scenario.")
    ] = 3.0,
    min_samples: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Samples of each, however long they take: by default 20, on a GPU 100. A 90th "
            "percentile needs 64, a 95th 130, a 99th 662.",
            show_default=False,
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Reading the photograph's file is timed, too.")
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(help="Also write the result as JSON, raw samples too.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Measure nothing; draw this result of --json to --out.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture to draw the result to.", show_default=False)
    ] = None,
) -> None:
    r"""Measure how fast a bundle is, and whether it still answers like the model.

    Time is that of the host's clock, from decoded RGB in memory to the mask in
    memory. Contenders are measured by turns; no sample is left out; what makes
    the numbers doubtful is told beside them.

    Examples:
      arnet bench horse.bundle --support examples/horse --query examples/queries \
        --checkpoint arnet-r18 --against torch --json bench.json
      arnet bench --plot bench.json --out bench.png
    """
    if plot is not None:
        measuring = {"--support": support, "--query": query, "--synthetic": synthetic}
        comparing = {"--against": against, "--checkpoint": checkpoint, "--ablate": ablate}
        sampling = {"--shots": shots, "--min-samples": min_samples, "--decode": decode}
        rest = {"--threads": threads, "--json": json}
        console.not_with("--plot", {**measuring, **comparing, **sampling, **rest})
        _draw_earlier(plot, out, bundle)
        return
    if bundle is None:
        raise ConfigError("there is no bundle to measure", "arnet bench BUNDLE, or --plot FILE")
    from arnet.runtime.benchmark import plot as picture
    from arnet.runtime.benchmark.result import write_result
    from arnet.runtime.benchmark.run import Scope, run
    from arnet.runtime.benchmark.scenarios import SCENARIOS
    from arnet.runtime.benchmark.workload import read_workload
    from arnet.runtime.bundle import Bundle

    numbers = None if shots is None else _numbers("--shots", shots)
    scope = Scope(
        numbers or (1, 5),
        _numbers("--classes", classes),
        _words("--scenario", scenario, SCENARIOS),
        duration,
        min_samples,
        decode,
    )
    bundle = shipped.find(bundle, shipped.BUNDLE)
    names = () if against is None else _words("--against", against, AGAINST)
    if checkpoint is not None:
        checkpoint = shipped.find(checkpoint, shipped.CHECKPOINT)
    _check(names, checkpoint, json, out)
    if ablate and KERNELS not in names:
        raise ConfigError(
            f"--ablate takes {KERNELS} apart, which is not measured", f"--against {KERNELS}"
        )
    if out is not None:
        picture.check(out)
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    scope = scope.with_fixed_shots(manifest.shots, asked=numbers is not None)
    if decode and synthetic:
        raise ConfigError("noise is in no file that --decode could read", "leave --decode out")
    workload = read_workload(support, query, scope.shots, scope.classes, synthetic)
    with console.progress_bar() as bar:
        task = bar.add_task("", total=None)
        result = run(
            _contenders(opened, engine, threads, names, checkpoint, device, ablate),
            workload,
            scope,
            reference=next((name for name in names if name in TORCH), None),
            parity=None if manifest.parity is None else dict(manifest.parity),
            command=shlex.join(["arnet", *sys.argv[1:]]),
            doubts=_doubts(checkpoint, manifest.checkpoint.sha256),
            progress=lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total
            ),
        )
    if json is not None:
        write_result(json, result)  # first: what goes wrong with the display loses nothing
    bench_output.show(result)
    if json is not None:
        console.out.print(f"\nWritten to {json}, with every sample")
    if out is not None:
        picture.draw(result, out)
        bench_output.drawn(out)
    elif json is not None:
        console.next_command("arnet", "bench", "--plot", json, "--out", json.with_suffix(".png"))
    else:
        console.next_command("arnet", *sys.argv[1:], "--json", "bench.json")


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers from 1, as they were given, each once."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ConfigError(
            f"{option} {text}: whole numbers from 1 are needed", f"such as {option} 1,5"
        )
    return tuple(dict.fromkeys(int(word) for word in words))


def _words(option: str, text: str, known: Sequence[Word]) -> tuple[Word, ...]:
    """Some of the known words, as they were given, each once."""
    words = console.split_words(text)
    for word in words:
        if word not in known:
            raise ConfigError(
                f"{option} {text}: there is no '{word}'", f"choose from {', '.join(known)}"
            )
    return tuple(dict.fromkeys(known[known.index(word)] for word in words))


def _check(
    names: Sequence[str], checkpoint: Path | None, json: Path | None, out: Path | None
) -> None:
    """What would otherwise be found after minutes of measuring."""
    if names and checkpoint is None:
        raise ConfigError(
            f"--against {','.join(names)} needs the checkpoint that the bundle was exported from",
            "add --checkpoint FILE",
        )
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(
            f"there is no checkpoint {checkpoint}", "give the one the bundle was exported from"
        )
    console.check_files(json, out)


def _contenders(
    bundle: Bundle,
    engine: str,
    threads: int | None,
    names: Sequence[str],
    checkpoint: Path | None,
    device: str,
    ablate: bool,
) -> list[Contender]:
    from functools import partial

    from arnet.runtime.benchmark.scenarios import Contender
    from arnet.runtime.segmenter import Segmenter

    found = [Contender("bundle", partial(Segmenter.load, bundle.path, engine, threads))]
    if names and checkpoint is not None:
        console.need_export()
        from arnet.export.references import contender
        from arnet.export.torch_kernels import Options, ablations

        size = bundle.manifest.image_size
        half = bundle.manifest.precision.requested == "fp16"
        usual = Options(precision="fp16" if half else "fp32")
        open_one = partial(contender, checkpoint=checkpoint, size=size, threads=threads)
        for name in names:
            opening = partial(open_one, name, device=device, options=usual)
            drawn = name.startswith("onnx")
            beside = "torch, which makes its graph, would be counted, too" if drawn else ""
            found.append(Contender(name, opening, beside))
        for what, options in ablations(usual).items() if ablate else ():
            opening = partial(open_one, KERNELS, device=device, options=options)
            found.append(Contender(what, opening, "that of torch-kernels"))
    return found


def _doubts(checkpoint: Path | None, sha256: str) -> list[str]:
    from arnet.runtime.files import sha256_of

    other = checkpoint is not None and sha256_of(checkpoint) != sha256
    return [f"{checkpoint} is not what the bundle was exported from"] if other else []


def _draw_earlier(source: Path, out: Path | None, bundle: Path | None) -> None:
    from arnet.runtime.benchmark.plot import draw
    from arnet.runtime.benchmark.result import read_result

    if bundle is not None:
        raise ConfigError(
            "--plot draws an earlier result, and a bundle was given to be measured",
            "leave one out; a new result is drawn with --out FILE.png alone",
        )
    out = out or source.with_suffix(".png")
    draw(read_result(source), out)
    bench_output.drawn(out)
