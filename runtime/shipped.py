"""Models that come with arnet, found by name."""

from __future__ import annotations

from pathlib import Path

from arnet.runtime.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[1] / "weights"
"""Beside this package, in a checkout as in an installed wheel."""

DEFAULT = "arnet-r50"
"""The bundle that is used where none is named."""

BUNDLE, CHECKPOINT = ".zip", ".safetensors"


def names(ending: str) -> list[str]:
    """The models of one kind, ``BUNDLE`` or ``CHECKPOINT``."""
    return sorted(path.stem for path in FOLDER.glob(f"*{ending}"))


def find(given: Path, ending: str) -> Path:
    """What a person named: a path, or the name of a model that comes with arnet.

    Args:
        given: such as ``runs/mine/checkpoint.safetensors`` or ``arnet-r50``. What is there as a
            file or folder is taken before a name.
        ending: kind of the model, ``BUNDLE`` or ``CHECKPOINT``.

    Returns:
        The path; it need not exist where it does not look like a name.

    Raises:
        ConfigError: it looks like a name, and no model is called so.
    """
    if given.exists() or given.suffix or len(given.parts) > 1:
        return given
    known = names(ending)
    if given.name not in known:
        raise ConfigError(
            f"there is neither a file {given} nor a model of that name",
            f"give a path, or one of {', '.join(known)}" if known else "give a path",
        )
    return FOLDER / f"{given}{ending}"
