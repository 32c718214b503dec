"""Stages of a training: what each trains, with which optimiser and learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from arnet.config import Config, StageConfig, TrainConfig
from arnet.data import SegmentationDataset
from arnet.data.dataset import count_shots
from arnet.modeling import ARNet
from arnet.runtime.errors import ConfigError, DataError
from arnet.training.contents import left_out


@dataclass(frozen=True)
class Stage:
    """A stage of the configuration, placed among the iterations of the whole training.

    Attributes:
        number: from 0.
        config: shots, learning rate, what is trained.
        start: iterations of the stages before it.
        classes: the classes it draws from, those with images enough for its shots.
    """

    number: int
    config: StageConfig
    start: int
    classes: tuple[int, ...]

    @property
    def end(self) -> int:
        """Iterations at its end."""
        return self.start + self.config.iterations


def place_stages(config: Config, dataset: SegmentationDataset) -> list[Stage]:
    """The stages of a configuration, checked before anything is computed.

    Raises:
        ConfigError: a stage has nothing to train, or other shots than the model takes, or the
            episodes would not be those that the configuration says.
        DataError: no class has images enough for a stage.
    """
    _check_draws(config, dataset)
    model = config.model
    stages: list[Stage] = []
    start = 0
    for number, stage in enumerate(config.train.stages):
        if stage.trainable == "fusion" and "mrm" in model.without:
            raise ConfigError(
                f"train.stages.{number} trains the fusion, and without mrm there is none",
                'add the override train.stages="[{iterations: 20000}]"',
            )
        if model.pairing == "concatenate" and set(stage.shots) != {model.pairing_shots}:
            raise ConfigError(
                f"train.stages.{number} has {stage.shots[0]} to {stage.shots[1]} shots, "
                f"model.pairing=concatenate takes exactly {model.pairing_shots}",
                f"set its shots to [{model.pairing_shots}, {model.pairing_shots}]",
            )
        most = stage.shots[1]
        classes = dataset.classes_with(most + 1)
        if not classes:
            reasons = left_out(config, dataset)
            raise DataError(
                f"no class of {dataset.name} has the {most + 1} images that {count_shots(most)} "
                + "; ".join(["needs" if most == 1 else "need", *reasons]),
                "add images, those that are kept for validation not counted"
                + (", or lower the shots of train.stages" if most > 1 else "")
                + (", or data.min_share" if reasons and config.data.kind == "folder" else ""),
            )
        stages.append(Stage(number, stage, start, classes))
        start += stage.iterations
    return stages


def _check_draws(config: Config, dataset: SegmentationDataset) -> None:
    data = config.data
    if data.sampling == "image" and len({member.share for member in data.members}) > 1:
        raise ConfigError(
            "the members of the union have different shares, and data.sampling=image draws all "
            "(image, class) pairs alike",
            "set data.sampling=class, or give every member the same share",
        )
    # They are cut out of the photographs, whatever the masks hide.
    shows_novel = any(dataset.hidden & dataset.scan[i].pixels.keys() for i, _ in dataset.pairs)
    if config.train.pseudo_classes and shows_novel:
        raise ConfigError(
            "pseudo-classes may be about the novel classes: photographs that show them are trained "
            "on, as data.novel=background has it",
            "set data.novel=drop, or train.pseudo_classes=0",
        )


def choose_trainable(model: ARNet, trainable: str) -> list[nn.Parameter]:
    """Switch the gradients of a stage on and off, and list the parameters to train."""
    fusion = [module for module in (model.mrm, model.cmm, model.shot_attention) if module]
    chosen = fusion if trainable == "fusion" else [model.reduction, model.mpm, *fusion]
    model.requires_grad_(False)
    for module in chosen:
        module.requires_grad_(True)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def train_mode(model: ARNet) -> None:
    """Training mode for what is trained; the rest keeps its statistics and has no dropout."""
    for module in model.children():
        module.train(any(parameter.requires_grad for parameter in module.parameters()))


def build_optimizer(
    config: Config, parameters: Sequence[nn.Parameter], rate: float
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW."""
    train = config.train
    if train.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=train.weight_decay)
    return torch.optim.SGD(
        parameters, lr=rate, momentum=train.momentum, weight_decay=train.weight_decay
    )


def learning_rate(train: TrainConfig, stage: StageConfig, done: int) -> float:
    """The learning rate after ``done`` iterations of a stage: warm-up, then polynomial decay."""
    decay = (1 - done / stage.iterations) ** train.power
    warm = min(1.0, (done + 1) / train.warmup) if train.warmup else 1.0
    return float(stage.learning_rate * decay * warm)
