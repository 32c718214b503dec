"""What is found by an evaluation: mean and deviation over the seeds, and what to know of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from arnet.checkpoint import Checkpoint
from arnet.config import Config
from arnet.config_file import config_to_dict
from arnet.data import GROWING, EvaluationEpisodes, SegmentationDataset
from arnet.data.dataset import count_shots
from arnet.evaluation.absent import AbsentEpisodes, FalseMarks, false_marks
from arnet.evaluation.evaluator import Scored, Scores, evaluate
from arnet.evaluation.opening import Evaluation, Request
from arnet.evaluation.reference import PAPER_MEAN_IOU, completeness, is_of_paper
from arnet.version import __version__

_FEW = 10
"""Photographs of a class, below which a note tells how little a figure rests on."""


def run(
    evaluation: Evaluation,
    progress: Callable[[int, int], None] = lambda done, total: None,
    observe: Callable[[int, Scored], None] = lambda seed, scored: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint.

    Args:
        evaluation: what is measured, and on what.
        progress: told of the queries done and their total.
        observe: told of each episode of the checkpoint's own: the seed, and what was found.

    Returns:
        Plain JSON values: "scores" by mask with mean and std over seeds (the population's, divided
        by their number), "per_class", "paper", "notes" on what keeps the figures from comparing
        with others, and the settings; "image_size" is None where photographs keep their own. With
        ``absent``, "absent" has what each predictor marks in queries without the class, in percent:
        "queries" with more than a speck, and "area"; see ``arnet.evaluation.absent.FalseMarks``;
        "absent_images" counts the images these are drawn from, by class.

    Raises:
        DataError: no class has images enough for the shots.
    """
    checkpoint, config = evaluation.checkpoint, evaluation.config
    request, dataset, classes = evaluation.request, evaluation.dataset, evaluation.classes
    protocol = request.protocol
    square = protocol.size == "square"
    asked = 2 if request.absent else 1  # queries of an episode
    total = len(protocol.seeds) * protocol.episodes * len(evaluation.predictors) * asked
    done = count(1)
    scores: dict[str, list[Scores]] = {name: [] for name in evaluation.predictors}
    wrong: dict[str, list[FalseMarks]] = {name: [] for name in evaluation.predictors}

    def tell(seed: int, name: str, scored: Scored) -> None:
        progress(next(done), total)
        if name == "arnet":
            observe(seed, scored)

    for seed in protocol.seeds:
        episodes = EvaluationEpisodes(
            dataset, classes, request.shots, protocol.episodes, seed, protocol.order
        )
        others = AbsentEpisodes(episodes, evaluation.absent) if request.absent else None
        for name, predictor in evaluation.predictors.items():
            told = partial(tell, seed, name)
            scores[name].append(
                evaluate(predictor, dataset, episodes, request.annotation, protocol.border, told)
            )
            if others is not None:
                wrong[name].append(
                    false_marks(
                        predictor,
                        dataset,
                        others,
                        request.annotation,
                        protocol.border,
                        lambda: progress(next(done), total),
                    )
                )
    result: dict[str, Any] = {
        "producer": f"arnet {__version__}",
        "checkpoint_sha256": checkpoint.sha256,
        "trained": checkpoint.info,
        "data": dataset.name,
        "data_config": config_to_dict(config)["data"],
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
            found = result.setdefault("against", {}) if name in request.against else result
            found[name] = _summary(runs, dataset)["q2"]
    if request.absent:
        result["absent"] = {name: _marks(runs, dataset) for name, runs in wrong.items()}
        result["absent_images"] = {
            dataset.class_names[c]: len(images) for c, images in evaluation.absent.items()
        }
        few = {name: n for name, n in result["absent_images"].items() if n < _FEW}
        if few:
            counts = ", ".join(f"{name} {n}" for name, n in few.items())
            result["notes"].append(
                "few photographs without the class, so that what is marked there says little: "
                + counts
            )
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
    known = dataset.among(checkpoint.photographs) if config.data.kind in GROWING else []
    if known:
        notes.append(
            f"{len(known)} of {len(dataset.ids)} photographs have the names of some that were"
            f" trained on: {known[0]}"
        )
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


def _marks(runs: Sequence[FalseMarks], dataset: SegmentationDataset) -> dict[str, Any]:
    """What is marked wrongly, over the seeds: of all classes, and of each."""

    def two(found: Sequence[tuple[float, float]]) -> dict[str, dict[str, float]]:
        queries, area = zip(*found, strict=True)
        return {"queries": _mean_std(queries), "area": _mean_std(area)}

    by_class = [run.per_class() for run in runs]
    classes = sorted(set().union(*by_class))
    return {
        **two([run.mean() for run in runs]),
        "per_class": {
            dataset.class_names[c]: two([found[c] for found in by_class if c in found])
            for c in classes
        },
    }


def _mean_std(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}
