"""What a training starts from where it is not the backbone's weights alone: a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from torch import Tensor

from arnet.checkpoint import FORMAT, load_tensors, load_weights
from arnet.config import Config
from arnet.config_file import config_from_dict, config_to_dict
from arnet.modeling import ARNet
from arnet.runtime import shipped
from arnet.runtime.errors import ConfigError
from arnet.runtime.files import sha256_of
from arnet.training.state import Position

_FUSION = ("cmm.", "shot_attention.")


def start_from(model: ARNet, config: Config, message: Callable[[str], None]) -> Position:
    """Fill a model with the weights of the checkpoint ``train.init``, which may fuse otherwise.

    Args:
        model: that of the configuration.
        config: what is to be trained.
        message: told what of the model is not as the checkpoint was trained.

    Returns:
        Where the training begins: it knows the classes that these weights were trained on, and
        the checkpoint's sha256.

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged or of another architecture.
        ConfigError: no model is called so, or its backbone computes something else.
    """
    path = shipped.find(Path(config.train.init), shipped.CHECKPOINT)
    tensors, header = load_tensors(path, FORMAT)
    before = config_to_dict(config_from_dict(header["config"], source=str(path)))["model"]
    wanted = config_to_dict(config)["model"]
    # The frozen backbone would take the weights, and give features that the rest does not know.
    if backbone := _differing(before.pop("backbone"), wanted.pop("backbone")):
        as_before = (quote(f"model.backbone.{key}={value}") for key, value in backbone.items())
        raise ConfigError(
            f"{path} was trained on another backbone: {', '.join(backbone)} differ",
            f"add {' '.join(as_before)}",
        )
    if others := _differing(before, wanted):
        message(f"not as {path} was trained: {', '.join(f'model.{key}' for key in others)}")
    if before["cmm_start"] != wanted["cmm_start"]:
        tensors = {n: t for n, t in tensors.items() if not n.startswith("cmm.")}
    load_weights(model, _with_own_fusion(model, tensors, message), path)
    seen = tuple(header.get("info", {}).get("trained_classes", ()))
    return Position(seen=seen, init=sha256_of(path))


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """The values of before that are others now, as an override says them."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in before.items()
        if value != now[key]
    }


def _with_own_fusion(
    model: ARNet, tensors: dict[str, Tensor], message: Callable[[str], None]
) -> dict[str, Tensor]:
    """Tensors to start from; a fusion that they do not have, or have otherwise, is new."""

    def of_fusion(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in named.items() if name.startswith(_FUSION)}

    own, found = of_fusion(model.state_dict()), of_fusion(tensors)
    if {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in found.items()}:
        return tensors
    message("another fusion than that of the first weights: it is trained anew")
    return {n: t for n, t in tensors.items() if n not in found} | own
