"""The folder of a run: what lies in it, what it is continued from, what it must not replace."""

from __future__ import annotations

from pathlib import Path

import yaml

from arnet.config import Config
from arnet.config_file import config_to_dict
from arnet.runtime.errors import ConfigError
from arnet.runtime.files import atomic_write, remove_leftovers
from arnet.training.state import SavedState, load_state

STATE, LAST, BEST, CONFIG = (
    "state.safetensors",
    "checkpoint.safetensors",
    "best.safetensors",
    "config.yaml",
)


def open_run(out: Path, config: Config, resume: bool) -> SavedState | None:
    """The state to resume from, if there is one.

    Args:
        out: the folder; it need not exist.
        config: what is to be trained.
        resume: continue where there is a state.

    Raises:
        CheckpointError: the state is damaged.
        ConfigError: the folder holds a training that is not to be resumed or has another
            configuration, or a checkpoint or configuration of something else.
    """
    path = out / STATE
    if path.is_file():
        if resume:
            return load_state(path, config)
        raise ConfigError(
            f"{out} already holds a training",
            "add --resume to continue it, or choose another --out",
        )
    _refuse_what_is_not_ours(out, config)
    return None


def write_config(out: Path, config: Config) -> None:
    """Write config.yaml, and remove what a killed run left half written.

    Raises:
        OutputError: the folder cannot be written to.
    """
    for name in (STATE, LAST, BEST, CONFIG):
        remove_leftovers(out / name)
    with atomic_write(out / CONFIG) as temporary:
        temporary.write_text(_text(config), encoding="utf-8")


def _refuse_what_is_not_ours(out: Path, config: Config) -> None:
    """Refuse a folder without a state, unless of a run that was killed before its first save."""
    path = out / CONFIG
    there = [name for name in (LAST, BEST, CONFIG) if (out / name).is_file()]
    killed = CONFIG in there and path.read_text("utf-8", "replace") == _text(config)
    if LAST in there or (there and not killed):
        raise ConfigError(
            f"{out} holds {there[0]}, which this training would replace, but no {STATE} "
            "to continue from",
            f"choose another --out, or move {out / there[0]} away",
        )


def _text(config: Config) -> str:
    text: str = yaml.safe_dump(config_to_dict(config), sort_keys=False)
    return text
