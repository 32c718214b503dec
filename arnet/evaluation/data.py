"""The data of an evaluation: those of the training, or others, as this machine has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arnet.checkpoint import Checkpoint
from arnet.config import Config
from arnet.config_file import config_from_dict, config_to_dict, load_config
from arnet.data.files import require_folder
from arnet.data.folder import read_classes
from arnet.evaluation.classes import classes_option
from arnet.inputs import check_fold
from arnet.runtime.errors import ConfigError, DataError

_OPTIONS = {
    "data.root": "--data",
    "data.kind": "--kind",
    "data.fold": "--fold",
    "data.image_size": "--size",
    "data.cache": "--cache",
}
"""Keys that have an option of their own."""


def check_overrides(overrides: Sequence[str]) -> None:
    """Check that overrides are about the data and are no options in another form.

    Args:
        overrides: ``data.KEY=VALUE``.

    Raises:
        ConfigError: one is about something else, which is as it was trained, or has an option.
    """
    for override in overrides:
        key = override.partition("=")[0]
        if key in _OPTIONS and override != "data.fold=null":  # --fold has no word for none
            option = _OPTIONS[key]
            raise ConfigError(f"{key} has an option here", f"write {option} VALUE in its place")
        if not key.startswith("data."):
            raise ConfigError(
                f"'{override}' is not about the data, and all else is as it was trained",
                "write data.KEY=VALUE, such as data.annotations=voc or data.year=2017; what can be "
                "changed of the model has options: arnet eval --help",
            )


def data_config(checkpoint: Checkpoint, overrides: Sequence[str] = (), **changes: Any) -> Config:
    """The checkpoint's configuration with the data of this machine in it.

    Args:
        checkpoint: whose configuration.
        overrides: ``data.KEY=VALUE`` as ``arnet train`` takes them.
        changes: fields of ``data``; None leaves one as it is. Another kind of data holds no class
            out, unless a fold is given, too.

    Raises:
        ConfigError: a value is not allowed, or the data do not use the fold that is given.
    """
    tree = config_to_dict(checkpoint.config)
    if changes.get("kind") not in (None, tree["data"]["kind"]):
        # Another kind of data has other classes: none of them is held out.
        tree["data"].update(fold=None, held_out=[], members=[])
    given = {name: value for name, value in changes.items() if value is not None}
    tree["data"] = {**tree["data"], "cache": "", **given}
    config = load_config(None, overrides, config_from_dict(tree, source="the command line"))
    check_fold(config.data, given.get("fold"))
    return config


def without_absent(config: Config, classes: Sequence[str]) -> Config:
    """The configuration for a folder that may lack what the training held out.

    Args:
        config: of the data to evaluate on.
        classes: names of the classes to evaluate; none for those held out.

    Returns:
        The same, but without held-out classes where the folder lacks any and others are named.

    Raises:
        DataError: the folder lacks any, and no classes are named.
    """
    data = config.data
    if data.kind != "folder" or not data.held_out:
        return config
    require_folder(Path(data.root))
    names = read_classes(Path(data.root) / "classes.txt").values()
    absent = [name for name in data.held_out if name not in names]
    if not absent:
        return config
    if not classes:
        raise DataError(
            f"{data.root} lacks classes that the training held out: {', '.join(absent)}",
            f"say which to evaluate: {classes_option(names)}, or some of them",
        )
    return replace(config, data=replace(data, held_out=(), fold=None))
