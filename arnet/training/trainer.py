"""The training loop: stages, optimiser, validation, checkpoints and resumption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
import yaml
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from arnet.checkpoint import save_checkpoint
from arnet.config import Config, StageConfig, config_to_dict
from arnet.data import EvaluationEpisodes, SegmentationDataset, TrainingEpisodes
from arnet.evaluation.evaluator import evaluate
from arnet.evaluation.predictors import ARNetPredictor, autocast
from arnet.modeling import ARNet, Losses, arnet_loss, load_backbone_weights
from arnet.runtime.errors import ConfigError, DataError, TrainingError
from arnet.runtime.output import atomic_write
from arnet.training.batches import Batch, EpisodeBatches
from arnet.training.datasets import open_source, open_split
from arnet.training.distributed import Process
from arnet.training.features import InputSource
from arnet.training.log import TrainingLog
from arnet.training.state import Position, SavedState, load_state, save_state

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
STATE, LAST, BEST, CONFIG = (
    "state.safetensors",
    "checkpoint.safetensors",
    "best.safetensors",
    "config.yaml",
)


class Reporter(Protocol):
    """Shows a training to a person."""

    def message(self, text: str) -> None:
        """A line."""

    def caching(self, done: int, total: int) -> None:
        """Images whose features have been cached."""

    def step(self, iteration: int, total: int, losses: dict[str, float]) -> None:
        """One optimisation step."""


@dataclass
class _Stage:
    """A stage of the configuration, placed among the iterations of the whole training."""

    number: int
    config: StageConfig
    start: int

    @property
    def end(self) -> int:
        return self.start + self.config.iterations


class Trainer:
    """Trains an ARNet as a configuration says, into a folder."""

    def __init__(
        self, config: Config, out: Path, process: Process, reporter: Reporter, init: Path | None
    ) -> None:
        """Open the data and build the model.

        Args:
            config: what to train.
            out: the run's folder: config.yaml, log.jsonl, tensorboard/, state.safetensors to
                resume from, checkpoint.safetensors (last) and best.safetensors.
            process: this process among those of ``torchrun``.
            reporter: told what happens.
            init: a checkpoint to start from; None starts from the backbone's weights.

        Raises:
            ArnetError: the configuration, the data or the weights are not usable.
        """
        train = config.train
        if train.batch_size % (process.world * train.accumulate):
            raise ConfigError(
                f"batch_size {train.batch_size} cannot be shared by {process.world} processes of "
                f"{train.accumulate} parts each",
                "make train.batch_size a multiple of both",
            )
        if train.precision == "fp16" and process.device.type != "cuda":
            raise ConfigError("precision fp16 needs a GPU", "use train.precision=bf16 or fp32")
        check_stages(config)
        self.config, self.out, self.process, self.reporter = config, out, process, reporter
        torch.manual_seed(train.seed)
        # Not channels_last: on a CPU in bf16 torch 2.14's gradient of a dilated convolution's
        # weights is then garbage for widths such as ASPP's 260, and there is no time to win.
        self.model = ARNet(config.model)
        if init is None:
            load_backbone_weights(
                self.model.backbone, config.model.backbone, train.backbone_weights
            )
        else:
            initialise_from(self.model, init)
        self.model.to(process.device)
        self.dataset = open_split(config, "train")
        self.stages = list(_place(train.stages))
        self.source = self._open(self.dataset, augmented=True)
        self.precision = PRECISIONS[train.precision]
        self.scaler = torch.amp.GradScaler(
            process.device.type, enabled=self.precision == torch.float16
        )
        self.validation = self._open_validation() if train.validate_every else None

    def run(self, resume: bool) -> Position:
        """Train to the end.

        Args:
            resume: continue from the folder's state.

        Returns:
            Where the training ended.

        Raises:
            ConfigError: the folder already holds a training and ``resume`` is False, or its state
                has another configuration.
        """
        saved = self._open_folder(resume)
        position = saved.position if saved else Position()
        self._began = time.monotonic() - position.seconds
        with _first_only(self.process, self.out, position.iteration) as log:
            for stage in self.stages:
                if position.iteration < stage.end:
                    position = self._run_stage(stage, position, saved, log)
                    saved = None
        return position

    def _run_stage(
        self, stage: _Stage, position: Position, saved: SavedState | None, log: TrainingLog | None
    ) -> Position:
        train = self.config.train
        parameters = choose_trainable(self.model, stage.config.trainable)
        optimizer = build_optimizer(self.config, parameters, stage.config.learning_rate)
        if saved is not None and position.iteration > stage.start:
            saved.restore_optimizer(self.model, optimizer)
        network: nn.Module = self.model
        if self.process.world > 1:
            network = DistributedDataParallel(
                self.model,
                device_ids=[self.process.device] if self.process.device.type == "cuda" else None,
                find_unused_parameters=True,  # one-shot batches do not use the CMM
            )
        iteration = position.iteration
        for batch in self._batches(stage, iteration):
            rate = learning_rate(self.config, stage.config, iteration - stage.start)
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(train.seed + iteration)  # dropout
            losses = self._step(network, optimizer, parameters, batch)
            iteration += 1
            position = replace(
                position,
                iteration=iteration,
                stage=stage.number,
                seconds=time.monotonic() - self._began,
            )
            if log is not None:
                log.write("train", iteration, shots=batch.support.shape[1], rate=rate, **losses)
            self.reporter.step(iteration, self.stages[-1].end, losses)
            if train.validate_every and iteration % train.validate_every == 0:
                position = self._validate(position, log)
            if iteration % train.save_every == 0 or iteration == stage.end:
                self._save(optimizer, position)
        return position

    def _step(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        batch: Batch,
    ) -> dict[str, float]:
        train, device = self.config.train, self.process.device
        self.model.train()
        for module in self.model.children():
            # What a stage does not train keeps its running statistics and has no dropout.
            module.train(any(parameter.requires_grad for parameter in module.parameters()))
        optimizer.zero_grad(set_to_none=True)
        size = batch.query.shape[0] // train.accumulate
        sums: dict[str, float] = {}
        for index in range(train.accumulate):
            part = batch.part(slice(index * size, (index + 1) * size)).to(device)
            with autocast(device, self.precision):
                losses = self._losses(network, part)
            self.scaler.scale(losses.total / train.accumulate).backward()
            if not torch.isfinite(losses.total):
                raise TrainingError(
                    f"the loss became {losses.total.item()}: the training diverged",
                    "lower train.stages' learning_rate, or set train.clip=1 and train.warmup; "
                    "--resume continues from the last state",
                )
            for name, value in vars(losses).items():
                if value is not None:
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / train.accumulate
        if train.clip:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, train.clip)
        self.scaler.step(optimizer)
        self.scaler.update()
        return sums

    def _losses(self, network: nn.Module, batch: Batch) -> Losses:
        query, support = batch.query, batch.support
        if not self.source.features:
            query = self.model.backbone(query)
            support = self.model.backbone(support.flatten(0, 1)).unflatten(0, support.shape[:2])
        guides = (batch.support_labels == 1).float()
        prediction = network(query.float(), support.float(), guides)
        train = self.config.train
        return arnet_loss(
            prediction,
            batch.query_labels,
            batch.support_labels,
            train.alpha,
            train.beta,
            train.gamma,
        )

    def _batches(self, stage: _Stage, iteration: int) -> Iterator[Batch]:
        train, most = self.config.train, stage.config.shots[1]
        classes = self.dataset.classes_with(most + 1)
        left_out = sorted(set(self.dataset.classes) - set(classes))
        if not classes:
            raise DataError(
                f"no class of {self.dataset.name} has the {most + 1} images that {most} shots need",
                "add images, or lower the shots of train.stages",
            )
        if left_out and self.process.first:
            names = ", ".join(
                f"{self.dataset.class_names[c]} ({len(self.dataset.by_class[c])})" for c in left_out
            )
            self.reporter.message(f"too few images for {most} shots, not trained on: {names}")
        episodes = TrainingEpisodes(
            self.dataset, classes, stage.config.shots, train.seed, self.config.data.sampling
        )
        batches = EpisodeBatches(
            episodes,
            self.source,
            train.batch_size,
            self.process.share(train.batch_size),
            train.seed,
        )
        return iter(
            DataLoader(
                batches,
                batch_size=None,
                sampler=range(iteration, stage.end),
                num_workers=train.workers,
            )
        )

    def _validate(self, position: Position, log: TrainingLog | None) -> Position:
        """Score a fixed set of episodes; the best checkpoint so far is kept."""
        if log is not None and self.validation is not None:
            dataset, source = self.validation
            shots = self.stages[position.stage].config.shots[1]
            episodes = EvaluationEpisodes(
                dataset,
                dataset.classes_with(shots + 1),
                shots,
                self.config.train.validate_episodes,
                self.config.train.seed,
                "random",
            )
            predictor = ARNetPredictor(self.model, source, self.precision)
            scores = evaluate(predictor, dataset, episodes)
            found = {name: meter.mean_iou() for name, meter in scores.meters.items()}
            log.write("validation", position.iteration, shots=shots, **found)
            self.reporter.message(
                f"iteration {position.iteration}: mIoU of {len(episodes)} episodes on "
                f"{self.config.train.validate_classes} classes, {shots}-shot: "
                + ", ".join(f"{name} {value:.1f}" for name, value in found.items())
            )
            if position.best is None or found["q2"] > position.best:
                position = replace(position, best=found["q2"])
                save_checkpoint(self.out / BEST, self.model, self.config, self._info(position))
        self.process.wait()
        return position

    def _open_validation(self) -> tuple[SegmentationDataset, InputSource]:
        novel = self.config.train.validate_classes == "novel"
        dataset = open_split(self.config, "val", "default" if novel else "training")
        most = max(stage.config.shots[1] for stage in self.stages)
        if not dataset.classes_with(most + 1):
            raise DataError(
                f"no class of {dataset.name} has the {most + 1} images that validating with "
                f"{most} shots needs",
                "add validation images, or set train.validate_every=0",
            )
        return dataset, self._open(dataset, augmented=False)

    def _open(self, dataset: SegmentationDataset, augmented: bool) -> InputSource:
        return open_source(
            self.config, dataset, self.model.backbone, augmented, self.reporter.caching
        )

    def _open_folder(self, resume: bool) -> SavedState | None:
        path = self.out / STATE
        if not path.is_file():
            if self.process.first:
                with atomic_write(self.out / CONFIG) as temporary:
                    temporary.write_text(
                        yaml.safe_dump(config_to_dict(self.config), sort_keys=False)
                    )
            return None
        if not resume:
            raise ConfigError(
                f"{self.out} already holds a training",
                "add --resume to continue it, or choose another --out",
            )
        saved = load_state(path, self.config)
        saved.restore_model(self.model)
        return saved

    def _save(self, optimizer: torch.optim.Optimizer, position: Position) -> None:
        if self.process.first:
            save_checkpoint(self.out / LAST, self.model, self.config, self._info(position))
            save_state(self.out / STATE, self.model, optimizer, self.config, position)
        self.process.wait()

    def _info(self, position: Position) -> dict[str, object]:
        return {
            "iteration": position.iteration,
            "seconds": round(position.seconds, 1),
            "best_validation_miou": position.best,
            "data": self.dataset.name,
            "trained_classes": [self.dataset.class_names[c] for c in self.dataset.classes],
        }


def check_stages(config: Config) -> None:
    """Refuse, before anything is computed, stages that the model cannot be trained in.

    Raises:
        ConfigError: a stage has nothing to train, or other shots than the model takes.
    """
    model = config.model
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


def choose_trainable(model: ARNet, trainable: str) -> list[nn.Parameter]:
    """Switch the gradients of a stage on and off, and list the parameters to train."""
    fusion = [module for module in (model.mrm, model.cmm, model.shot_attention) if module]
    chosen = fusion if trainable == "fusion" else [model.reduction, model.mpm, *fusion]
    model.requires_grad_(False)
    for module in chosen:
        module.requires_grad_(True)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def build_optimizer(
    config: Config, parameters: list[nn.Parameter], rate: float
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW."""
    train = config.train
    if train.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=train.weight_decay)
    return torch.optim.SGD(
        parameters, lr=rate, momentum=train.momentum, weight_decay=train.weight_decay
    )


def learning_rate(config: Config, stage: StageConfig, done: int) -> float:
    """The learning rate after ``done`` iterations of a stage: warm-up, then polynomial decay."""
    decay = (1 - done / stage.iterations) ** config.train.power
    warm = min(1.0, (done + 1) / config.train.warmup) if config.train.warmup else 1.0
    return float(stage.learning_rate * decay * warm)


def initialise_from(model: ARNet, path: Path) -> None:
    """Give a model the weights of a checkpoint of the same architecture."""
    from arnet.checkpoint import FORMAT, load_tensors, load_weights

    tensors, _ = load_tensors(path, FORMAT)
    load_weights(model, tensors, path)


def _place(stages: tuple[StageConfig, ...]) -> Iterator[_Stage]:
    start = 0
    for number, config in enumerate(stages):
        yield _Stage(number, config, start)
        start += config.iterations


@contextmanager
def _first_only(process: Process, out: Path, iteration: int) -> Iterator[TrainingLog | None]:
    if not process.first:
        yield None
        return
    with TrainingLog(out, iteration) as log:
        yield log
