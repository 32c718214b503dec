"""The training loop: a folder, its stages, checkpoints and resumption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch.utils.data import DataLoader

from arnet.checkpoint import save_checkpoint
from arnet.config import Config
from arnet.data import GROWING, SegmentationDataset, TrainingEpisodes
from arnet.data.dataset import count_shots
from arnet.devices import PRECISIONS
from arnet.inputs import InputSource, open_source, open_split
from arnet.modeling import ARNet, load_backbone_weights
from arnet.runtime.errors import ConfigError
from arnet.training.batches import Batch, EpisodeBatches
from arnet.training.contents import Contents, cache_size, contents_of
from arnet.training.distributed import Process
from arnet.training.log import TrainingLog
from arnet.training.optimization import Optimization
from arnet.training.run_folder import BEST, LAST, STATE, open_run, write_config
from arnet.training.stages import Stage, learning_rate, place_stages
from arnet.training.start import start_from
from arnet.training.state import Position, save_state
from arnet.training.validation import open_validation, validate


class Reporter(Protocol):
    """Shows a training to a person."""

    def message(self, text: str) -> None:
        """A line."""

    def caching(self, done: int, total: int) -> None:
        """Images whose features have been cached."""

    def step(self, iteration: int, total: int, losses: dict[str, float]) -> None:
        """One optimisation step."""


class Trainer:
    """Trains an ARNet as a configuration says, into a folder.

    The folder holds config.yaml, log.jsonl, tensorboard/, checkpoint.safetensors (the last),
    best.safetensors (the best of its last stage) and state.safetensors, to resume from.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        process: Process,
        reporter: Reporter,
        resume: bool = False,
    ) -> None:
        """Check everything, then open the data and the model.

        Args:
            config: what to train.
            out: the folder.
            process: this process among those of ``torchrun``.
            reporter: told what happens.
            resume: continue from the folder's state, if it has one.

        Raises:
            ArnetError: the configuration, the data or the weights are not usable; the folder holds
                a training and ``resume`` is False, or one with another configuration, or a
                checkpoint or configuration of something else.
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
        self.config, self.out, self.process, self.reporter = config, out, process, reporter
        self.saved = open_run(out, config, resume)
        self.dataset = open_split(config, "train")
        if self.saved is not None:
            self.saved.require_photographs(self.dataset)
        self.stages = place_stages(config, self.dataset)
        validation = open_validation(config, self.dataset) if train.validate_every else None
        torch.manual_seed(train.seed)
        # Not channels_last: on a CPU in bf16 torch 2.14's gradient of a dilated convolution's
        # weights is then garbage for widths such as ASPP's 260, and there is no time to win.
        self.model = ARNet(config.model)
        self.start = replace(self._fill(), photographs=self.dataset.digest)
        self.model.to(process.device)
        if process.first:
            write_config(out, config)  # before the long work: the folder may not be writable
        self.contents = contents_of(config, self.dataset) if process.first else Contents()
        for line in self.contents.lines:
            reporter.message(line)
        self.source = self._open(self.dataset, training=True)
        self.validation: tuple[SegmentationDataset, InputSource] | None = None
        if validation is not None:
            self.validation = validation, self._open(validation, training=False)

    def run(self) -> Position:
        """Train to the end, and say where that is."""
        position = self.start
        self._began = time.monotonic() - position.seconds
        with _first_only(self.process, self.out, position.iteration) as log:
            for stage in self.stages:
                if position.iteration < stage.end:
                    position = self._run_stage(stage, position, log)
        return position

    def _run_stage(self, stage: Stage, position: Position, log: TrainingLog | None) -> Position:
        train = self.config.train
        optimization = Optimization(self.config, self.model, stage, self.source, self.process)
        if position.iteration == stage.start:
            # The stages have different shots: their validations do not compare.
            position = replace(position, stage=stage.number, best=None)
        elif self.saved is not None:
            self.saved.restore_optimizer(self.model, optimization.optimizer, optimization.scaler)
        self._tell(stage)
        for batch in self._batches(stage, position.iteration):
            rate = learning_rate(train, stage.config, position.iteration - stage.start)
            # Dropout; it differs between processes.
            process = self.process
            torch.manual_seed(train.seed + position.iteration * process.world + process.rank)
            losses = optimization.step(batch, rate)
            iteration = position.iteration + 1
            position = replace(
                position, iteration=iteration, seconds=time.monotonic() - self._began
            )
            if log is not None:
                log.write("train", iteration, shots=batch.support.shape[1], rate=rate, **losses)
            self.reporter.step(iteration, self.stages[-1].end, losses)
            ends = iteration == stage.end
            if train.validate_every and (ends or iteration % train.validate_every == 0):
                position = self._validate(stage, position, log)
            if ends or iteration % train.save_every == 0:
                self._save(optimization, position)
        return position

    def _tell(self, stage: Stage) -> None:
        """What of the data the stage passes over."""
        if not self.process.first:
            return
        called = self.dataset.class_names
        if left_out := sorted(set(self.dataset.classes) - set(stage.classes)):
            names = ", ".join(f"{called[c]} ({len(self.dataset.by_class[c])})" for c in left_out)
            self.reporter.message(
                f"too few images for {count_shots(stage.config.shots[1])}, not trained on: {names}"
            )
        episodes = self._episodes(stage)
        if episodes.absent and episodes.always_shown:
            self.reporter.message(
                "all images show "
                + ", ".join(called[c] for c in episodes.always_shown)
                + ": train.absent does nothing there without images, of empty masks, that do not"
            )

    def _episodes(self, stage: Stage) -> TrainingEpisodes:
        train = self.config.train
        return TrainingEpisodes(
            self.dataset,
            stage.classes,
            stage.config.shots,
            train.seed,
            self.config.data.sampling,
            train.absent if stage.config.absent is None else stage.config.absent,
        )

    def _batches(self, stage: Stage, iteration: int) -> Iterator[Batch]:
        train = self.config.train
        batches = EpisodeBatches(
            self._episodes(stage),
            self.source,
            train.batch_size,
            self.process.share(train.batch_size),
            train.seed,
            train.weak_guides,
            train.pseudo_classes,
        )
        numbers = range(iteration, stage.end)
        return iter(
            DataLoader(batches, batch_size=None, sampler=numbers, num_workers=train.workers)
        )

    def _validate(self, stage: Stage, position: Position, log: TrainingLog | None) -> Position:
        """Score the validation episodes; the best checkpoint of the stage is kept."""
        if log is not None and self.validation is not None:
            train, shots = self.config.train, stage.config.shots[1]
            dataset, source = self.validation
            found = validate(
                self.model, self.config, dataset, source, shots, PRECISIONS[train.precision]
            )
            log.write("validation", position.iteration, shots=shots, **found)
            self.reporter.message(
                f"iteration {position.iteration}: mIoU of {train.validate_episodes} episodes on "
                f"{train.validate_classes} classes, {shots}-shot: "
                + ", ".join(f"{name} {value:.1f}" for name, value in found.items())
            )
            if position.best is None or found["q2"] > position.best:
                position = replace(position, best=found["q2"])
                self._save_checkpoint(BEST, position)
        self.process.wait()
        return position

    def _fill(self) -> Position:
        """Give the model the weights of the state, of a checkpoint or of the backbone."""
        if self.saved is not None:
            self.saved.restore_model(self.model)
            return self.saved.position
        if self.config.train.init:
            return start_from(self.model, self.config, self.reporter.message)
        load_backbone_weights(
            self.model.backbone, self.config.model.backbone, self.config.train.backbone_weights
        )
        return Position()

    def _open(self, dataset: SegmentationDataset, training: bool) -> InputSource:
        """The images of a data set; the first process fills the cache for all."""
        if not self.process.first:
            self.process.wait()
        elif self.config.data.cache:
            self.reporter.message(cache_size(self.config, self.model.backbone, dataset, training))
        source = open_source(
            self.config, dataset, self.model.backbone, training, self.reporter.caching
        )
        if self.process.first:
            self.process.wait()
        return source

    def _save(self, optimization: Optimization, position: Position) -> None:
        if self.process.first:
            self._save_checkpoint(LAST, position)
            optimizer, scaler = optimization.optimizer, optimization.scaler
            save_state(self.out / STATE, self.model, optimizer, self.config, position, scaler)
        self.process.wait()

    def _save_checkpoint(self, name: str, position: Position) -> None:
        drawn = {c for stage in self.stages[: position.stage + 1] for c in stage.classes}
        names = [self.dataset.class_names[c] for c in sorted(drawn)]
        info = {
            "iteration": position.iteration,
            "seconds": round(position.seconds, 1),
            "best_validation_miou": position.best,
            "data": self.dataset.name,
            "trained_classes": list(dict.fromkeys((*position.seen, *names))),
        }
        photographs = self.dataset.marks if self.config.data.kind in GROWING else ()
        save_checkpoint(self.out / name, self.model, self.config, info, photographs)


@contextmanager
def _first_only(process: Process, out: Path, iteration: int) -> Iterator[TrainingLog | None]:
    """The log, in the process that writes it."""
    if not process.first:
        yield None
        return
    with TrainingLog(out, iteration) as log:
        yield log
