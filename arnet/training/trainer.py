"""The training loop: a folder, its stages, checkpoints and resumption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
import yaml
from torch.utils.data import DataLoader

from arnet.checkpoint import save_checkpoint
from arnet.config import Config
from arnet.config_file import config_to_dict
from arnet.data import SegmentationDataset, TrainingEpisodes
from arnet.data.dataset import count_shots
from arnet.devices import PRECISIONS
from arnet.inputs import InputSource, open_source, open_split
from arnet.modeling import ARNet, load_backbone_weights
from arnet.runtime.errors import ConfigError
from arnet.runtime.files import atomic_write, remove_leftovers
from arnet.training.batches import Batch, EpisodeBatches
from arnet.training.contents import Contents, cache_size, contents_of
from arnet.training.distributed import Process
from arnet.training.log import TrainingLog
from arnet.training.optimization import Optimization
from arnet.training.stages import Stage, learning_rate, place_stages
from arnet.training.start import start_from
from arnet.training.state import Position, SavedState, load_state, save_state
from arnet.training.validation import open_validation, validate

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
        self.saved = self._open_folder(resume)
        self.dataset = open_split(config, "train")
        self.stages = place_stages(config, self.dataset)
        validation = open_validation(config, self.dataset) if train.validate_every else None
        torch.manual_seed(train.seed)
        # Not channels_last: on a CPU in bf16 torch 2.14's gradient of a dilated convolution's
        # weights is then garbage for widths such as ASPP's 260, and there is no time to win.
        self.model = ARNet(config.model)
        self.start = self._fill()
        self.model.to(process.device)
        if process.first:
            self._write_config()  # before the long work: the folder may not be writable
        self.contents = contents_of(config, self.dataset) if process.first else Contents()
        for line in self.contents.lines:
            reporter.message(line)
        self.source = self._open(self.dataset, augmented=True)
        self.validation: tuple[SegmentationDataset, InputSource] | None = None
        if validation is not None:
            self.validation = validation, self._open(validation, augmented=False)

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
            self.saved.restore_optimizer(self.model, optimization.optimizer)
        self._tell_left_out(stage)
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
                self._save(optimization.optimizer, position)
        return position

    def _tell_left_out(self, stage: Stage) -> None:
        left_out = sorted(set(self.dataset.classes) - set(stage.classes))
        if left_out and self.process.first:
            names = ", ".join(
                f"{self.dataset.class_names[c]} ({len(self.dataset.by_class[c])})" for c in left_out
            )
            self.reporter.message(
                f"too few images for {count_shots(stage.config.shots[1])}, not trained on: {names}"
            )

    def _batches(self, stage: Stage, iteration: int) -> Iterator[Batch]:
        train = self.config.train
        episodes = TrainingEpisodes(
            self.dataset,
            stage.classes,
            stage.config.shots,
            train.seed,
            self.config.data.sampling,
            train.absent if stage.config.absent is None else stage.config.absent,
        )
        batches = EpisodeBatches(
            episodes,
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
                save_checkpoint(self.out / BEST, self.model, self.config, self._info(position))
        self.process.wait()
        return position

    def _open_folder(self, resume: bool) -> SavedState | None:
        """The state to resume from, if there is one."""
        path = self.out / STATE
        if path.is_file():
            if resume:
                return load_state(path, self.config)
            raise ConfigError(
                f"{self.out} already holds a training",
                "add --resume to continue it, or choose another --out",
            )
        self._refuse_what_is_not_ours()
        return None

    def _refuse_what_is_not_ours(self) -> None:
        """Refuse a folder without a state, unless of a run that was killed before its first save.

        Raises:
            ConfigError: it holds a checkpoint, or another configuration.
        """
        config = self.out / CONFIG
        there = [name for name in (LAST, BEST, CONFIG) if (self.out / name).is_file()]
        killed = CONFIG in there and config.read_text("utf-8", "replace") == self._config_text()
        if LAST in there or (there and not killed):
            raise ConfigError(
                f"{self.out} holds {there[0]}, which this training would replace, but no {STATE} "
                "to continue from",
                f"choose another --out, or move {self.out / there[0]} away",
            )

    def _config_text(self) -> str:
        text: str = yaml.safe_dump(config_to_dict(self.config), sort_keys=False)
        return text

    def _write_config(self) -> None:
        for name in (STATE, LAST, BEST, CONFIG):
            remove_leftovers(self.out / name)
        with atomic_write(self.out / CONFIG) as temporary:
            temporary.write_text(self._config_text(), encoding="utf-8")

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

    def _open(self, dataset: SegmentationDataset, augmented: bool) -> InputSource:
        """The images of a data set; the first process fills the cache for all."""
        if not self.process.first:
            self.process.wait()
        elif self.config.data.cache:
            views = self.config.data.cache_views if augmented else 1
            self.reporter.message(cache_size(self.config, self.model.backbone, dataset, views))
        source = open_source(
            self.config, dataset, self.model.backbone, augmented, self.reporter.caching
        )
        if self.process.first:
            self.process.wait()
        return source

    def _save(self, optimizer: torch.optim.Optimizer, position: Position) -> None:
        if self.process.first:
            save_checkpoint(self.out / LAST, self.model, self.config, self._info(position))
            save_state(self.out / STATE, self.model, optimizer, self.config, position)
        self.process.wait()

    def _info(self, position: Position) -> dict[str, object]:
        drawn = {c for stage in self.stages[: position.stage + 1] for c in stage.classes}
        names = [self.dataset.class_names[c] for c in sorted(drawn)]
        return {
            "iteration": position.iteration,
            "seconds": round(position.seconds, 1),
            "best_validation_miou": position.best,
            "data": self.dataset.name,
            "trained_classes": list(dict.fromkeys((*position.seen, *names))),
        }


@contextmanager
def _first_only(process: Process, out: Path, iteration: int) -> Iterator[TrainingLog | None]:
    """The log, in the process that writes it."""
    if not process.first:
        yield None
        return
    with TrainingLog(out, iteration) as log:
        yield log
