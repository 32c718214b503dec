"""Checkpoints: one safetensors file with the weights, the configuration and what is known of them.

Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from arnet.config import Config
from arnet.config_file import config_from_dict, config_to_dict
from arnet.modeling import ARNet
from arnet.runtime.errors import UPDATE, CheckpointError
from arnet.runtime.files import atomic_write, sha256_of
from arnet.version import __version__

FORMAT = "arnet-checkpoint"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained model.

    Attributes:
        model: in evaluation mode, on the CPU, in float32.
        config: what it was trained with.
        info: iteration, classes it was trained on, scores: plain JSON values.
        sha256: of the file.
        photographs: marks of those it was trained on, for ``SegmentationDataset.among``; none of a
            published benchmark, whose lists say it, or where an older version wrote the file.
    """

    model: ARNet
    config: Config
    info: dict[str, Any]
    sha256: str
    photographs: tuple[str, ...] = ()


def save_checkpoint(
    path: Path,
    model: ARNet,
    config: Config,
    info: Mapping[str, Any],
    photographs: Sequence[str] = (),
) -> None:
    """Write a checkpoint; the file is replaced at once or not at all.

    The weights are stored as ``config.train.store`` says; a model always computes in float32 or
    what its caller chooses.

    Raises:
        OutputError: it cannot be written.
    """
    # Not the running statistics: a variance of Caffe's ResNet-50 is more than float16 can hold.
    halved = dict(model.named_parameters()) if config.train.store == "fp16" else {}
    save_tensors(
        path,
        {
            name: value.half() if name in halved else value
            for name, value in model.state_dict().items()
        },
        FORMAT,
        {"config": config_to_dict(config), "info": dict(info), "photographs": [*photographs]},
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: there is none, it is damaged, of another kind, a newer version or another
            architecture than its own configuration says.
    """
    tensors, header = load_tensors(path, FORMAT)
    config = config_from_dict(header["config"], source=str(path))
    model = ARNet(config.model)
    load_weights(model, tensors, path)
    info, photographs = header.get("info", {}), tuple(header.get("photographs", ()))
    return Checkpoint(model.eval(), config, info, sha256_of(path), photographs)


def load_weights(model: ARNet, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill a model with tensors read from ``path``.

    Raises:
        CheckpointError: they are not those of this architecture.
    """
    expected = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in tensors.items()}
    if expected != found:
        wrong = sorted(
            key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)
        )
        raise CheckpointError(
            f"{path} is of another architecture: {len(wrong)} tensors differ, the first is "
            f"{wrong[0]} (found {_shape(found.get(wrong[0]))}, needed "
            f"{_shape(expected.get(wrong[0]))})",
            "use the configuration it was trained with",
        )
    model.load_state_dict(dict(tensors))


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], file_format: str, header: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON header as one safetensors file, whole or not at all."""
    metadata = {
        "format": file_format,
        "version": str(FORMAT_VERSION),
        "producer": f"arnet {__version__}",
        "header": json.dumps(header),
    }
    ready = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(ready, metadata))


def load_tensors(path: Path, file_format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_tensors`` wrote: the tensors and the header.

    Raises:
        CheckpointError: there is no such file, it is damaged, of another format or newer.
    """
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}", "arnet train writes checkpoint.safetensors"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            found, version = metadata.get("format"), metadata.get("version", "0")
            if found != file_format:
                raise CheckpointError(
                    f"{path} is not an ARNet checkpoint (its format is {found or 'not named'}, "
                    f"needed is {file_format})",
                    "arnet train writes checkpoint.safetensors",
                )
            if int(version) > FORMAT_VERSION:
                raise CheckpointError(
                    f"{path} has version {version}, this arnet {__version__} reads up to "
                    f"{FORMAT_VERSION}; it was written by {metadata.get('producer', 'another')}",
                    UPDATE,
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            header = json.loads(metadata["header"])
            if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
                raise ValueError("its header has no configuration")
            return tensors, header
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}", "copy it again, or train again with arnet train"
        ) from error


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else "x".join(str(side) for side in shape) or "a scalar"
