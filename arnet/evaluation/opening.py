"""From a checkpoint and a folder to what is measured: the data, its classes and the predictors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from arnet.checkpoint import Checkpoint
from arnet.config import Config
from arnet.config_file import with_model
from arnet.data import SegmentationDataset
from arnet.evaluation.absent import queries_without
from arnet.evaluation.classes import choose_classes
from arnet.evaluation.data import without_absent
from arnet.evaluation.encoder import Annotation, Encoder
from arnet.evaluation.predictors import (
    ARNetPredictor,
    OriginalSizePredictor,
    Predictor,
    PriorAlone,
    PrototypeBaseline,
)
from arnet.evaluation.protocols import Protocol
from arnet.inputs import Progress, open_source, open_split
from arnet.modeling import ARNet
from arnet.runtime.errors import CheckpointError, ConfigError


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
        absent: also ask each episode's supports about a query that does not show the class.
    """

    protocol: Protocol
    shots: int = 1
    annotation: Annotation = "mask"
    classes: tuple[str, ...] = ()
    baseline: bool = False
    precision: torch.dtype = torch.float32
    against: tuple[str, ...] = ()
    absent: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What is measured, and on what.

    Attributes:
        checkpoint: the model, on the device it runs on.
        config: the checkpoint's configuration with the folder of the data set in.
        request: what to evaluate.
        dataset: the validation part of the data.
        classes: ids of the classes.
        predictors: "arnet", "baseline" and "prior" as far as asked for, and the other fusions.
        absent: images that do not show a class, by class, if they are asked about.
    """

    checkpoint: Checkpoint
    config: Config
    request: Request
    dataset: SegmentationDataset
    classes: tuple[int, ...]
    predictors: dict[str, Predictor]
    absent: dict[int, list[str]]


def open_evaluation(
    checkpoint: Checkpoint,
    config: Config,
    request: Request,
    caching: Progress = lambda done, total: None,
) -> Evaluation:
    """Open the data, and cache the backbone's features of them where that is asked for.

    Args:
        checkpoint: the model, on the device it shall run on.
        config: the checkpoint's configuration with the folder of the data set in.
        request: what to evaluate.
        caching: told of the images cached.

    Raises:
        DataError: a class that was asked for has too few images for the shots or is unknown, or
            those held out are not in these data; or all images show one and ``absent`` asks for
            others.
    """
    config = without_absent(config, request.classes)
    dataset = open_split(config, "val")
    classes = choose_classes(dataset, request.classes, request.shots)
    absent = queries_without(dataset, classes) if request.absent else {}
    device = next(checkpoint.model.parameters()).device
    others = {
        name: change_model(checkpoint, fusion=name).model.to(device) for name in request.against
    }
    others_to_ask = [image for images in absent.values() for image in images]
    predictors = _predictors(checkpoint.model, config, dataset, request, others_to_ask, caching)
    if others:
        main = predictors["arnet"]
        if not isinstance(main, ARNetPredictor):
            raise ConfigError(
                f"protocol {request.protocol.name} compares no fusions at once",
                "leave --against out, and give each fusion with --fusion",
            )
        predictors |= {name: ARNetPredictor(main.encoder, m) for name, m in others.items()}
    return Evaluation(checkpoint, config, request, dataset, classes, predictors, absent)


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


def _predictors(
    model: ARNet,
    config: Config,
    dataset: SegmentationDataset,
    request: Request,
    more: Sequence[str],
    caching: Progress,
) -> dict[str, Predictor]:
    square = request.protocol.size == "square"
    found: dict[str, Predictor] = {}
    encoder = None
    if square or request.baseline:
        source = open_source(config, dataset, model.backbone, False, caching, more)
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
