"""Validation during a training: a fixed set of episodes, scored again and again."""

from __future__ import annotations

import torch

from arnet.config import Config
from arnet.data import EvaluationEpisodes, SegmentationDataset
from arnet.data.dataset import count_shots
from arnet.evaluation.encoder import Encoder
from arnet.evaluation.evaluator import evaluate
from arnet.evaluation.predictors import ARNetPredictor
from arnet.inputs import InputSource, open_split
from arnet.modeling import ARNet
from arnet.runtime.errors import DataError


def open_validation(config: Config, training: SegmentationDataset) -> SegmentationDataset:
    """The images that validate a training, with the classes that ``validate_classes`` says.

    Raises:
        DataError: no class has images enough for the most shots of any stage.
    """
    novel = config.train.validate_classes == "novel"
    dataset = open_split(config, "val", None if novel else training.classes)
    most = max(stage.shots[1] for stage in config.train.stages)
    if not dataset.classes_with(most + 1):
        raise DataError(
            f"no class of {dataset.name} has the {most + 1} images that validating with "
            f"{count_shots(most)} needs",
            "add validation images, or set train.validate_every=0",
        )
    return dataset


def validate(
    model: ARNet,
    config: Config,
    dataset: SegmentationDataset,
    source: InputSource,
    shots: int,
    precision: torch.dtype,
) -> dict[str, float]:
    """MIoU in percent of q1, s and q2, those that the model predicts."""
    train = config.train
    episodes = EvaluationEpisodes(
        dataset,
        dataset.classes_with(shots + 1),
        shots,
        train.validate_episodes,
        train.seed,
        "random",
    )
    scores = evaluate(ARNetPredictor(Encoder(model, source, precision)), dataset, episodes)
    return {name: meter.mean_iou() for name, meter in scores.meters.items()}
