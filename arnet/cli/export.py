"""``arnet export`` and ``arnet parity``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from arnet.cli import console
from arnet.cli.parity_output import show_parity
from arnet.runtime import shipped

if TYPE_CHECKING:
    from arnet.checkpoint import Checkpoint
    from arnet.export.episodes import RealEpisode

CheckpointOption = Annotated[
    Path,
    typer.Option(
        help="checkpoint.safetensors of arnet train, or the name of one that comes with arnet.",
        show_default=False,
    ),
]
SupportOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of annotated photographs, as arnet infer takes it: each in turn is found by "
        "the others. Repeat it for more.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Or the data set of the training: episodes of the classes that were held out, "
        "or of all.",
        show_default=False,
    ),
]
EpisodesOption = Annotated[
    int | None,
    typer.Option(min=1, help="Episodes drawn from --data.", show_default="32"),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Also write the report here.", show_default=False)
]


def export(
    checkpoint: CheckpointOption,
    out: Annotated[
        Path, typer.Option(help="Folder of the bundle, or a name ending in .zip for one file.")
    ] = Path("bundle"),
    support: SupportOption = None,
    data: DataOption = None,
    episodes: EpisodesOption = None,
    engine: Annotated[
        Literal["onnx", "fp32", "tf32", "fp16", "bf16", "int8", "fp8"],
        typer.Option(
            help="What the bundle is for: ONNX Runtime; or also TensorRT on the GPU of this "
            "machine, computing in the precision that is named.",
        ),
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(
            help="What is computed in, with --engine onnx. By default fp32.", show_default=False
        ),
    ] = None,
    store: Annotated[
        Literal["fp32", "fp16"],
        typer.Option(help="What the weights are stored in; fp16 halves the bundle."),
    ] = "fp32",
    plugins: Annotated[
        Literal["auto", "off"],
        typer.Option(help="'off' writes plain ONNX, without our own operations."),
    ] = "auto",
    hardware: Annotated[
        Literal["none", "same-capability", "ampere-plus"] | None,
        typer.Option(
            help="GPUs that TensorRT's plans run on: this model, all of its compute capability, "
            "or Ampere and newer. The more, the slower.",
            show_default="none",
        ),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="Let newer versions of TensorRT of the same major run the plans.",
        ),
    ] = False,
    max_shots: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Most shots of a class that the plans take.", show_default="10"
        ),
    ] = None,
    max_classes: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Most classes at once that the plans take.", show_default="4"
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=33, help="Side of the model's image; by default that of the training."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the bundle that is there.")
    ] = False,
    json: JsonOption = None,
) -> None:
    r"""Turn a checkpoint into a bundle that runs without torch.

    The model is rewritten exactly, so that a photograph costs little more for
    five shots than for one, written as ONNX, and compared with the checkpoint
    on real photographs. A bundle that says something else than the checkpoint
    is kept as NAME.failed, and the command ends with 1.

    Example:
      arnet export --checkpoint arnet-r18 \
        --support examples/horse --support examples/dog --out bundle
    """
    console.check_files(json)
    console.need_export()
    from arnet.checkpoint import load_checkpoint
    from arnet.export.bundle import check_place
    from arnet.export.exporter import ExportOptions, export_bundle
    from arnet.export.tensorrt.library import find
    from arnet.export.tensorrt.plans import PlanOptions
    from arnet.runtime.errors import ConfigError

    tools = plans = None
    of_plans = {
        "--hardware": hardware,
        "--version-compatible": version_compatible,
        "--max-shots": max_shots,
        "--max-classes": max_classes,
    }
    if engine == "onnx":
        console.not_with("--engine onnx", of_plans)
    else:
        if precision is not None or store != "fp32":
            raise ConfigError(
                f"--engine {engine} says what is computed in and stored; "
                "--precision and --store are for --engine onnx",
                "leave them out",
            )
        # First of all: without TensorRT and a GPU nothing is read, computed or written.
        tools = find(shlex.join(["arnet", *sys.argv[1:]]))
        plans = PlanOptions(
            engine, hardware or "none", version_compatible, max_shots or 10, max_classes or 4
        )
    check_place(out, overwrite)
    checkpoint = shipped.find(checkpoint, shipped.CHECKPOINT)
    loaded = load_checkpoint(checkpoint)
    chosen, source = _episodes(loaded, support or [], data, episodes, max_shots)
    options = ExportOptions(size, precision or "fp32", store, plugins == "auto", overwrite, plans)
    with console.progress_bar() as bar:
        tasks: dict[str, int] = {}

        def told(step: str, done: int, total: int) -> None:
            name = "parity" if step == "parity" else "export"
            task = tasks.setdefault(name, bar.add_task(step) if name not in tasks else 0)
            bar.update(task, description=step, completed=done, total=total)  # type: ignore[arg-type]

        exported = export_bundle(loaded, checkpoint.name, out, chosen, source, options, told, tools)
    show_parity(exported.parity, json)
    console.out.print(f"\nWritten to {exported.path}")
    if not exported.parity.passed:
        raise typer.Exit(1)
    folder = support[0] if support else "examples/horse"
    console.next_command(
        *("arnet", "infer", "--bundle", exported.path, "--support", folder),
        *("--query", "examples/queries"),
    )


def parity(
    bundle: Annotated[Path, typer.Argument(help="Folder or zip of a bundle.", show_default=False)],
    checkpoint: CheckpointOption,
    support: SupportOption = None,
    data: DataOption = None,
    episodes: EpisodesOption = None,
    engine: Annotated[
        Literal["onnx", "onnx-cuda", "tensorrt"] | None,
        typer.Option(
            help="What runs the bundle. By default TensorRT for one with plans, else ONNX Runtime.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    r"""Compare a bundle with the checkpoint it was made from, once more.

    Ends with 1 if the bundle is out of the bounds of its precision.

    Example:
      arnet parity bundle --checkpoint arnet-r18 \
        --support examples/horse
    """
    console.check_files(json)
    console.need_export()
    from arnet.checkpoint import load_checkpoint
    from arnet.export.exporter import judge
    from arnet.export.stages import factorise
    from arnet.runtime.bundle import Bundle
    from arnet.runtime.errors import BundleError

    bundle = shipped.find(bundle, shipped.BUNDLE)
    checkpoint = shipped.find(checkpoint, shipped.CHECKPOINT)
    manifest = Bundle.open(bundle).manifest
    loaded = load_checkpoint(checkpoint)
    if manifest.checkpoint.sha256 != loaded.sha256:
        raise BundleError(
            f"{bundle} was made from {manifest.checkpoint.name} with sha256 "
            f"{manifest.checkpoint.sha256[:12]}..., not from {checkpoint} "
            f"({loaded.sha256[:12]}...)",
            "compare it with its own checkpoint, or export this one",
        )
    taken = min((plans.shots[-1] for plans in manifest.plans), default=None)
    chosen, source = _episodes(loaded, support or [], data, episodes, taken)
    with console.progress_bar() as bar:
        task = bar.add_task("parity")
        result = judge(
            loaded,
            factorise(loaded.model, manifest.image_size),
            bundle,
            chosen,
            source,
            lambda step, done, total: bar.update(task, completed=done, total=total),
            engine or ("tensorrt" if manifest.plans else "onnx"),
        )
    show_parity(result, json)
    if not result.passed:
        raise typer.Exit(1)
    support_and_query = ("--support", "examples/horse", "--query", "examples/queries")
    console.next_command("arnet", "bench", bundle, *support_and_query)


def _episodes(
    checkpoint: Checkpoint,
    support: list[Path],
    data: Path | None,
    count: int | None,
    taken: int | None,
) -> tuple[list[RealEpisode], str]:
    """The episodes and, for the report, where they are from.

    Plans take no more shots than ``taken``; None where there are none.
    """
    from arnet.export.episodes import MOST_SHOTS, from_dataset, from_folders
    from arnet.export.layout import layout_of
    from arnet.runtime.errors import ConfigError

    if data is not None and support:
        raise ConfigError("--data and --support were both given", "leave one of them out")
    if support:
        console.not_with("--support", {"--episodes": count})
    shots = layout_of(checkpoint.config.model).shots  # some models take just one number of them
    most = min(MOST_SHOTS, taken or MOST_SHOTS)
    if data is not None:
        drawn = from_dataset(checkpoint, data, count or 32, shots or most)
        trained = checkpoint.config.data
        held_out = trained.held_out or trained.used_fold is not None
        which = "the held-out classes of " if held_out else ""
        return drawn, f"{which}{data.name or data}"
    if not support:
        raise ConfigError(
            "the bundle is compared with the model on real photographs, and none were given",
            "add --support DIR, two annotated photographs or more, or --data DIR",
        )
    return from_folders(support, shots, most), ", ".join(
        folder.resolve().name for folder in support
    )
