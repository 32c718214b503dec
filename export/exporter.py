"""``arnet export``: a checkpoint becomes a bundle, which is judged before it has a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from arnet.runtime.bundle import CheckpointInfo, Manifest, Precision, Preprocessing
from arnet.runtime.errors import ConfigError
from arnet.runtime.preprocessing import MEAN, STD
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter
from arnet.version import __version__

Told = Callable[[str, int, int], None]
"""Told of a step by name, of how much of it is done and of its total."""


@dataclass(frozen=True)
class ExportOptions:
    """How a bundle is made.

    Attributes:
        size: side in pixels that images are resized to; None is that of the training.
        precision: what is computed in.
        store: what the weights are stored in; they are computed with as ``precision`` says.
        custom_operators: whether our own operations stand in the graphs by name.
        overwrite: whether a bundle that is there is replaced.
    """

    size: int | None = None
    precision: Compute = "fp32"
    store: Store = "fp32"
    custom_operators: bool = True
    overwrite: bool = False


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
) -> Exported:
    """Make a bundle of a checkpoint and run the parity gate.

    Args:
        checkpoint: the trained model.
        name: of the checkpoint's file.
        out: folder, or a name in .zip, of the bundle.
        episodes: real ones, for the gate and for calibration.
        source: where they are from.
        options: how.
        told: of the progress.

    Raises:
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
    told("write bundle", 3, 4)
    manifest = Manifest(
        producer=f"arnet {__version__}",
        name=out.name.removesuffix(ZIP),
        checkpoint=CheckpointInfo(name, checkpoint.sha256),
        image_size=size,
        feature_size=stages.grid,
        preprocessing=Preprocessing(mean=MEAN, std=STD),
        precision=Precision(
            options.precision,
            census(models),
            options.store if options.precision == "fp32" else options.precision,
        ),
        custom_operators=options.custom_operators,
        opset=OPSET,
        classes_together=stages.layout.together,
        shots=stages.layout.shots,
        stages={stage: interface(stage, model) for stage, model in models.items()},
        files={},
    )
    with staging(out) as folder:
        contents = serialised(models)
        write_files(folder, contents, replace(manifest, files=files_of(contents)))
        told("write bundle", 4, 4)
        parity = judge(checkpoint, stages, folder, episodes, source, told)
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
) -> Parity:
    """Compare a bundle with the checkpoint it was made from; see ``compare``."""
    segmenter = Segmenter.load(bundle, engine="onnx")
    model = TorchSegmenter(checkpoint, "checkpoint", "cpu", stages.size)
    return compare(
        model,
        stages,
        segmenter,
        segmenter.bundle.manifest.precision.requested,
        episodes,
        source,
        lambda done, total: told("parity", done, total),
    )


def _models(
    stages: Stages, options: ExportOptions, episodes: Sequence[RealEpisode]
) -> dict[str, ModelProto]:
    if options.precision == "fp16":
        stages = halve(stages)
    models = export_stages(stages, options.custom_operators)
    if options.precision == "int8":
        models = quantise(models, stages, episodes)
    if options.store == "fp16":
        models = {name: store_half(model) for name, model in models.items()}
    return models
