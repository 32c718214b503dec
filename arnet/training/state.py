"""The resumable state of a training: weights, optimiser and position in one safetensors file.

Nothing is unpickled. Episodes, augmentation and dropout are drawn from the seed and the iteration
alone, so there is no state of a random generator to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arnet.checkpoint import load_tensors, load_weights, save_tensors
from arnet.config import Config
from arnet.config_file import config_from_dict, config_to_dict
from arnet.data import SegmentationDataset
from arnet.modeling import ARNet
from arnet.runtime import shipped
from arnet.runtime.errors import CheckpointError, ConfigError, DataError
from arnet.runtime.files import sha256_of

FORMAT = "arnet-training-state"
_MODEL, _OPTIMIZER = "model.", "optimizer."


@dataclass(frozen=True)
class Position:
    """Where a training is.

    Attributes:
        iteration: optimisation steps done, over all stages.
        stage: the stage of the last step, whose optimiser is kept.
        best: the best validation mIoU so far in percent, or None.
        seconds: time spent so far.
        seen: names of the classes that the weights it started from had been trained on.
        init: sha256 of the checkpoint it started from, empty where it was none; None where a state
            of an older version does not say.
        photographs: digest of those that are trained on; None as above.
    """

    iteration: int = 0
    stage: int = 0
    best: float | None = None
    seconds: float = 0.0
    seen: tuple[str, ...] = ()
    init: str | None = ""
    photographs: str | None = None


def save_state(
    path: Path,
    model: ARNet,
    optimizer: torch.optim.Optimizer,
    config: Config,
    position: Position,
    scaler: torch.amp.GradScaler,
) -> None:
    """Write the state; the file is replaced at once or not at all."""
    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    tensors = {f"{_MODEL}{key}": value for key, value in model.state_dict().items()}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{names[parameter]}/{key}"] = torch.as_tensor(value)
    header = {
        "config": config_to_dict(config),
        "position": vars(position),
        "scaler": scaler.state_dict(),
    }
    save_tensors(path, tensors, FORMAT, header)


@dataclass(frozen=True)
class SavedState:
    """A state as it was read."""

    position: Position
    tensors: Mapping[str, Tensor]
    path: Path
    scaler: Mapping[str, Any]

    def require_photographs(self, dataset: SegmentationDataset) -> None:
        """Check that the training goes on with the photographs that it began with.

        Raises:
            DataError: they are others.
        """
        if self.position.photographs not in (None, dataset.digest):
            raise DataError(
                f"the photographs of {dataset.name} are not those that the training of {self.path} "
                "began with: what it has learned from may now be kept for validation",
                "put them back, or name those of before in train.txt and val.txt; to train on with "
                "others, give --init and the checkpoint, and choose another --out",
            )

    def restore_model(self, model: ARNet) -> None:
        """Give the model its weights."""
        load_weights(model, _below(self.tensors, _MODEL), self.path)

    def restore_optimizer(
        self, model: ARNet, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> None:
        """Give the optimiser its momentum, and fp16 its scale, where the state knows one."""
        if self.scaler:
            scaler.load_state_dict(dict(self.scaler))
        parameters = dict(model.named_parameters())
        for key, value in _below(self.tensors, _OPTIMIZER).items():
            name, _, entry = key.rpartition("/")
            parameter = parameters[name]
            # A step counter stays on the CPU, as torch keeps it; a map goes where its weight is.
            moved = value.to(parameter.device) if value.dim() else value
            optimizer.state[parameter][entry] = moved


def load_state(path: Path, config: Config) -> SavedState:
    """Read a state.

    Raises:
        CheckpointError: the file is damaged.
        ConfigError: it belongs to a training with another configuration, or from another
            checkpoint.
    """
    tensors, header = load_tensors(path, FORMAT)
    # What a state of an older version does not say has its default.
    before = config_to_dict(config_from_dict(header["config"], source=str(path)))
    changed = differences(before, config_to_dict(config))
    if changed:
        raise ConfigError(
            f"{path} was trained with another configuration: {', '.join(changed[:5])} differ",
            "resume with the configuration of the run, config.yaml beside it, or choose "
            "another --out",
        )
    try:
        known: dict[str, Any] = {"init": None, **header["position"]}
        position = Position(**known)
        position = replace(position, seen=tuple(position.seen))  # JSON has lists
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged: it does not say where the training was",
            "train anew with another --out",
        ) from error
    _check_start(path, position.init, config.train.init)
    return SavedState(position, tensors, path, header.get("scaler", {}))


def _check_start(path: Path, known: str | None, init: str) -> None:
    """Check that ``train.init`` is what a training started from, if it is still there."""
    if known is None or not init:
        return
    try:
        checkpoint = shipped.find(Path(init), shipped.CHECKPOINT)
    except ConfigError:
        return  # gone, as a path may be
    if checkpoint.is_file() and sha256_of(checkpoint) != known:
        raise ConfigError(
            f"the training of {path} did not start from {checkpoint} as it is now",
            "leave --init out to continue it, or choose another --out",
        )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


_MAY_CHANGE = {
    "data.root",
    "data.cache",
    "train.device",
    "train.workers",
    "train.backbone_weights",
    "train.init",
    "train.save_every",
    "train.validate_every",
    "train.validate_episodes",
}
"""What decides where and how often, not what is trained. Of ``train.init`` only the path may."""


def differences(one: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> list[str]:
    """The keys of two configurations by which what is trained differs, with dots."""
    found = []
    for key in sorted(one.keys() | other.keys()):
        name = f"{above}{key}"
        first, second = one.get(key), other.get(key)
        if isinstance(first, dict) and isinstance(second, dict):
            found += differences(first, second, f"{name}.")
        elif first != second and name not in _MAY_CHANGE:
            found.append(name)
    return found
