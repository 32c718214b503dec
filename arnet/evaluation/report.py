"""An evaluation from a checkpoint to a table: protocol, seeds, mean and deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from arnet.checkpoint import Checkpoint
from arnet.config import Config
from arnet.config_file import with_model
from arnet.data import EvaluationEpisodes, SegmentationDataset
from arnet.data.dataset import count_shots
from arnet.evaluation.classes import choose_classes
from arnet.evaluation.data import without_absent
from arnet.evaluation.encoder import Annotation, Encoder
from arnet.evaluation.evaluator import Scores, evaluate
from arnet.evaluation.predictors import (
    ARNetPredictor,
    OriginalSizePredictor,
    Predictor,
    PriorAlone,
    PrototypeBaseline,
)
from arnet.evaluation.protocols import Protocol
from arnet.evaluation.reference import PAPER_MEAN_IOU, completeness, is_of_paper
from arnet.inputs import Progress, open_source, open_split
from arnet.modeling import ARNet
from arnet.runtime.errors import CheckpointError, ConfigError
from arnet.version import __version__

_FEW = 10
"""Photographs of a class, below which a note tells how little a figure rests on."""


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        protocol: episodes, seeds, sizes and scoring.
        shots: k.
        annotation: the supports' masks, or boxes around them.
        classes: names of the classes, or patterns, with or without commas between them; none for
            those the data hold out.
        baseline: also evaluate the training-free baseline on the same episodes, and the prior
            alone, if the model has one.
        precision: of the computation.
        against: other fusions of the shots with the same weights, on the same episodes.
    """

    protocol: Protocol
    shots: int = 1
    annotation: Annotation = "mask"
    classes: tuple[str, ...] = ()
    baseline: bool = False
    precision: torch.dtype = torch.float32
    against: tuple[str, ...] = ()


def change_model(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    """The same weights, used otherwise: another fusion, fewer parts, more or less of the prior.

    Raises:
        CheckpointError: the change needs weights that the checkpoint does not have.
    """
    config = with_model(checkpoint.config, **changes)
    model = ARNet(config.model)
    own, needed = checkpoint.model.state_dict(), model.state_dict()
    missing = sorted(n for n, v in needed.items() if n not in own or own[n].shape != v.shape)
    if missing:
        raise CheckpointError(
            f"the checkpoint was not trained with {changes}: it lacks or differs in {missing[0]}",
            "train one: arnet train "
            + " ".join(f"model.{name}={value}" for name, value in changes.items()),
        )
    model.load_state_dict({name: own[name] for name in needed})
    return replace(checkpoint, model=model.eval(), config=config)


def run(
    checkpoint: Checkpoint,
    config: Config,
    request: Request,
    caching: Progress = lambda done, total: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint.

    Args:
        checkpoint: the model, on the device it shall run on.
        config: the checkpoint's configuration with the folder of the data set in.
        request: what to evaluate.
        caching: told of the images cached.
        progress: told of the episodes done and their total.

    Returns:
        Plain JSON values: "scores" by mask with mean and std over seeds, "per_class", "paper",
        "notes" on what keeps the figures from comparing with others, and the settings; the
        "image_size" is None where photographs keep their own.

    Raises:
        DataError: a class that was asked for has too few images for the shots or is unknown, or no
            class has images enough, or those held out are not in these data.
    """
    config = without_absent(config, request.classes)
    dataset = open_split(config, "val")
    classes = choose_classes(dataset, request.classes, request.shots)
    device = next(checkpoint.model.parameters()).device
    others = {
        name: change_model(checkpoint, fusion=name).model.to(device) for name in request.against
    }
    predictors = _predictors(checkpoint.model, config, dataset, request, caching)
    if others:
        main = predictors["arnet"]
        if not isinstance(main, ARNetPredictor):
            raise ConfigError(
                f"protocol {request.protocol.name} compares no fusions at once",
                "leave --against out, and give each fusion with --fusion",
            )
        predictors |= {name: ARNetPredictor(main.encoder, m) for name, m in others.items()}
    protocol = request.protocol
    square = protocol.size == "square"
    total = len(protocol.seeds) * protocol.episodes * len(predictors)
    finished = 0
    scores: dict[str, list[Scores]] = {name: [] for name in predictors}
    for seed in protocol.seeds:
        episodes = EvaluationEpisodes(
            dataset, classes, request.shots, protocol.episodes, seed, protocol.order
        )
        for name, predictor in predictors.items():
            start = finished
            scores[name].append(
                evaluate(
                    predictor,
                    dataset,
                    episodes,
                    request.annotation,
                    protocol.border,
                    lambda done, start=start: progress(start + done, total),  # type: ignore[misc]
                )
            )
            finished += protocol.episodes
    result: dict[str, Any] = {
        "producer": f"arnet {__version__}",
        "checkpoint_sha256": checkpoint.sha256,
        "trained": checkpoint.info,
        "data": dataset.name,
        "pairs": {dataset.class_names[c]: len(dataset.by_class[c]) for c in classes},
        "protocol": asdict(protocol),
        "fold": config.data.used_fold,
        "image_size": config.data.image_size if square else None,
        "precision": str(request.precision).removeprefix("torch."),
        "cached_features": square and bool(config.data.cache),
        "shots": request.shots,
        "annotation": request.annotation,
        "fusion": config.model.fusion,
        "without": list(config.model.without),
        "prior_strength": config.model.prior,
        "scores": _summary(scores["arnet"], dataset),
        "paper": _paper(config, request),
        "notes": _notes(checkpoint, config, dataset, classes, request),
    }
    for name, runs in scores.items():
        if name != "arnet":
            found = result.setdefault("against", {}) if name in others else result
            found[name] = _summary(runs, dataset)["q2"]
    return result


def _paper(config: Config, request: Request) -> dict[str, float] | None:
    """The paper's figure, where the same was measured: its model on the classes of a fold."""
    figure = PAPER_MEAN_IOU.get((config.data.kind, request.shots))
    a_fold = config.data.used_fold is not None and not request.classes
    if figure is None or not is_of_paper(config.model) or not a_fold:
        return None
    if request.annotation != "mask":
        return None
    return {"mean_iou_of_four_splits": figure}


def _predictors(
    model: ARNet,
    config: Config,
    dataset: SegmentationDataset,
    request: Request,
    caching: Progress,
) -> dict[str, Predictor]:
    square = request.protocol.size == "square"
    found: dict[str, Predictor] = {}
    encoder = None
    if square or request.baseline:
        source = open_source(config, dataset, model.backbone, False, caching)
        encoder = Encoder(model, source, request.precision)
    if square:
        assert encoder is not None
        found["arnet"] = ARNetPredictor(encoder)
    else:
        found["arnet"] = OriginalSizePredictor(
            model, dataset, request.protocol.scales, request.precision
        )
    if request.baseline:
        assert encoder is not None
        found["baseline"] = PrototypeBaseline(encoder.reader)
        if model.config.prior:
            found["prior"] = PriorAlone(encoder)
    return found


def _notes(
    checkpoint: Checkpoint,
    config: Config,
    dataset: SegmentationDataset,
    classes: tuple[int, ...],
    request: Request,
) -> list[str]:
    """What a reader of the figures must know."""
    notes = [dataset.note] if dataset.note else []
    part = completeness(config.data.kind, config.data.used_fold, len(dataset.pairs))
    if part is not None:
        notes.append(part)
    left_out = [c for c in dataset.classes if c not in classes]
    if left_out and not request.classes:
        counts = ", ".join(f"{dataset.class_names[c]} {len(dataset.by_class[c])}" for c in left_out)
        notes.append(f"too few images for {count_shots(request.shots)}, left out: {counts}")
    # A union calls its classes member/class.
    trained = {
        part
        for name in checkpoint.info.get("trained_classes", ())
        for part in (name, name.split("/")[-1])
    }
    seen = [dataset.class_names[c] for c in classes if dataset.class_names[c] in trained]
    if seen:
        notes.append(f"seen in training, so these are not few-shot figures: {', '.join(seen)}")
    few = [c for c in classes if len(dataset.by_class[c]) < _FEW]
    if few:
        counts = ", ".join(f"{dataset.class_names[c]} {len(dataset.by_class[c])}" for c in few)
        notes.append(
            f"few photographs, so that these figures say little: {counts}; the deviation is over "
            "draws of the same ones, not over others"
        )
    if request.baseline and request.protocol.size == "original":
        side = config.data.image_size
        notes.append(
            f"what needs no training is measured on squares of {side} x {side} pixels, "
            "q1, s and q2 on photographs in their own size"
        )
    return notes


def _summary(runs: Sequence[Scores], dataset: SegmentationDataset) -> dict[str, Any]:
    summary = {}
    for output in runs[0].meters:
        meters = [run.meters[output] for run in runs]
        classes = sorted({c for meter in meters for c in meter.per_class()})
        summary[output] = {
            "mean_iou": _mean_std([meter.mean_iou() for meter in meters]),
            "binary_iou": _mean_std([meter.binary_iou() for meter in meters]),
            "per_class": {
                dataset.class_names[c]: _mean_std(
                    [meter.per_class()[c] for meter in meters if c in meter.per_class()]
                )
                for c in classes
            },
        }
    return summary


def _mean_std(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}
