"""``arnet export``: a checkpoint becomes a bundle, which is judged before it has a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnx import ModelProto

from arnet.checkpoint import Checkpoint
from arnet.export.bundle import (
    ZIP,
    check_place,
    files_of,
    interface,
    publish,
    serialised,
    staging,
    write_files,
)
from arnet.export.card import model_card, to_json
from arnet.export.episodes import RealEpisode
from arnet.export.graphs import OPSET, export_stages
from arnet.export.parity import Parity, compare
from arnet.export.precision import Compute, Store, census, halve, store_half
from arnet.export.quantisation import quantise
from arnet.export.stages import Stages, factorise
from arnet.export.tensorrt.builder import Told
from arnet.export.tensorrt.library import Toolchain
from arnet.export.tensorrt.plans import PlanOptions, build_plans
from arnet.export.tensorrt.precision import STORED, graphs_for
from arnet.export.tensorrt.profiles import sizes_for
from arnet.export.tensorrt.quantisation import quantise_symmetric
from arnet.runtime.bundle import CheckpointInfo, Manifest, PlanSet, Precision, Preprocessing
from arnet.runtime.errors import ConfigError
from arnet.runtime.preprocessing import MEAN, STD
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter
from arnet.version import __version__


@dataclass(frozen=True)
class ExportOptions:
    """How a bundle is made.

    Attributes:
        size: side in pixels that images are resized to; None is that of the training.
        precision: what the graphs compute in.
        store: what the weights are stored in; they are computed with as ``precision`` says.
        custom_operators: whether our own operations stand in the graphs by name.
        overwrite: whether a bundle that is there is replaced.
        plans: TensorRT plans to build besides; the graphs are then those of their precision,
            ``precision`` and ``store`` are left alone.
    """

    size: int | None = None
    precision: Compute = "fp32"
    store: Store = "fp32"
    custom_operators: bool = True
    overwrite: bool = False
    plans: PlanOptions | None = None


@dataclass(frozen=True)
class Exported:
    """What was made.

    Attributes:
        path: of the bundle; with ``.failed`` in its name if it is out of bounds.
        parity: what the gate found.
    """

    path: Path
    parity: Parity


def export_bundle(
    checkpoint: Checkpoint,
    name: str,
    out: Path,
    episodes: Sequence[RealEpisode],
    source: str,
    options: ExportOptions = ExportOptions(),
    told: Told = lambda step, done, total: None,
    tools: Toolchain | None = None,
) -> Exported:
    """Make a bundle of a checkpoint and run the parity gate.

    Args:
        checkpoint: the trained model.
        name: of the checkpoint's file.
        out: folder, or a name in .zip, of the bundle.
        episodes: real ones, for the gate and for calibration.
        source: where they are from.
        options: how.
        told: of the progress, from another thread while TensorRT builds.
        tools: TensorRT and the GPU, needed for plans.

    Raises:
        BuildError: a plan cannot be built, or is not what was asked for.
        ConfigError: the options contradict each other, or the image is too small.
        OutputError: ``out`` is taken or cannot be written.
    """
    check_place(out, options.overwrite)
    failed = out.with_name(f"{out.name.removesuffix(ZIP)}.failed")
    check_place(failed, overwrite=True)  # that of an earlier failure may go
    size = options.size or checkpoint.config.data.image_size
    if options.store == "fp16" and options.precision != "fp32":
        raise ConfigError(
            f"--store fp16 is for --precision fp32; {options.precision} decides what it stores",
            "leave --store out",
        )
    told("factorise", 0, 4)
    stages = factorise(checkpoint.model, size)
    told("write graphs", 1, 4)
    models = _models(stages, options, episodes)
    plans, files = _plans(stages, models, options, episodes, told, tools)
    told("write bundle", 3, 4)
    requested: str = options.plans.precision if options.plans else options.precision
    manifest = Manifest(
        producer=f"arnet {__version__}",
        name=out.name.removesuffix(ZIP),
        checkpoint=CheckpointInfo(name, checkpoint.sha256),
        image_size=size,
        feature_size=stages.grid,
        preprocessing=Preprocessing(mean=MEAN, std=STD),
        precision=Precision(
            requested,
            census(models),
            options.store if requested == "fp32" else STORED[requested],
        ),
        custom_operators=options.custom_operators,
        opset=OPSET,
        classes_together=stages.layout.together,
        shots=stages.layout.shots,
        stages={stage: interface(stage, model) for stage, model in models.items()},
        files={},
        plans=plans,
        fused_shots=checkpoint.model.fused_shots,
    )
    with staging(out) as folder:
        contents = serialised(models) | files
        write_files(folder, contents, replace(manifest, files=files_of(contents)))
        told("write bundle", 4, 4)
        engine = "tensorrt" if plans else "onnx"
        parity = judge(checkpoint, stages, folder, episodes, source, told, engine)
        contents["parity.json"] = to_json(parity.to_json())
        manifest = replace(manifest, parity=parity.to_json())
        contents["MODEL_CARD.md"] = model_card(checkpoint, manifest, parity).encode()
        write_files(folder, contents, replace(manifest, files=files_of(contents)))
        if not parity.passed:
            out = failed
        publish(folder, out)
    return Exported(out, parity)


def judge(
    checkpoint: Checkpoint,
    stages: Stages,
    bundle: Path,
    episodes: Sequence[RealEpisode],
    source: str,
    told: Told = lambda step, done, total: None,
    engine: str = "onnx",
) -> Parity:
    """Compare a bundle, run by an engine, with the checkpoint it was made from; see ``compare``."""
    segmenter = Segmenter.load(bundle, engine=engine)
    model = TorchSegmenter(checkpoint, "checkpoint", "cpu", stages.size)
    return compare(
        model,
        stages,
        segmenter,
        kept(segmenter.bundle.manifest.precision),
        episodes,
        source,
        lambda done, total: told("parity", done, total),
    )


def kept(precision: Precision) -> str:
    """Whose bounds a bundle is held to, a key of ``BOUNDS``."""
    halved = precision.requested == "fp32" and precision.weights == "fp16"
    return "fp32 of fp16 weights" if halved else precision.requested


def _models(
    stages: Stages, options: ExportOptions, episodes: Sequence[RealEpisode]
) -> dict[str, ModelProto]:
    precision = STORED[options.plans.precision] if options.plans else options.precision
    models = export_stages(
        halve(stages) if precision == "fp16" else stages, options.custom_operators
    )
    if precision == "int8":
        # What ONNX Runtime makes is not what TensorRT takes.
        quantised = quantise_symmetric if options.plans else quantise
        models = quantised(models, stages, episodes)
    if options.store == "fp16":
        models = {name: store_half(model) for name, model in models.items()}
    return models


def _plans(
    stages: Stages,
    models: dict[str, ModelProto],
    options: ExportOptions,
    episodes: Sequence[RealEpisode],
    told: Told,
    tools: Toolchain | None,
) -> tuple[tuple[PlanSet, ...], dict[str, bytes]]:
    """What the manifest says of the plans, and their files; nothing where none were asked for."""
    if options.plans is None:
        return (), {}
    assert tools is not None, "plans need TensorRT and a GPU"
    graphs = graphs_for(options.plans.precision, models, stages, episodes, options.custom_operators)
    layout = stages.layout
    sizes = sizes_for(
        options.plans.most_shots, options.plans.most_classes, layout.shots, layout.together
    )
    plans, files = build_plans(tools, graphs, options.plans, sizes, told)
    return (plans,), files
