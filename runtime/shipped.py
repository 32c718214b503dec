"""Models that come with arnet, found by name."""

from __future__ import annotations

import zipfile
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
        ConfigError: it looks like a name, and no model is called so, or it is a model of the other
            kind.
    """
    other = CHECKPOINT if ending == BUNDLE else BUNDLE
    if given.exists():
        if _kind(given) == other:
            raise _mistaken(given, f"{given} is", other)
        return given
    if given.suffix or len(given.parts) > 1:
        return given
    known = names(ending)
    if given.name not in known:
        if given.name in names(other):
            raise _mistaken(given, f"{given} comes with arnet as", other)
        raise ConfigError(
            f"there is neither a file {given} nor a model of that name",
            f"give a path, or one of {', '.join(known)}" if known else "give a path",
        )
    return FOLDER / f"{given}{ending}"


def _kind(path: Path) -> str | None:
    """What a file or folder is, whole or damaged; None if it is neither kind of model."""
    from arnet.runtime.bundle.manifest import MANIFEST

    if path.is_dir():
        return BUNDLE if (path / MANIFEST).is_file() else None
    if path.suffix.lower() == CHECKPOINT:
        return CHECKPOINT
    try:
        with zipfile.ZipFile(path) as archive:
            # Weights that torch saved are zips, too. A bundle's folder may be in the zip.
            inside = any(Path(name).name == MANIFEST for name in archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    return BUNDLE if inside else None


def _mistaken(given: Path, found: str, kind: str) -> ConfigError:
    if kind == CHECKPOINT:
        return ConfigError(
            f"{found} a checkpoint, not a bundle",
            f"arnet infer takes it with --checkpoint {given}; to make a bundle of it:"
            f" arnet export --checkpoint {given} --out {given.stem}.bundle",
        )
    return ConfigError(
        f"{found} a bundle, not a checkpoint",
        f"arnet infer takes it with --bundle {given}; a checkpoint is the checkpoint.safetensors"
        " of arnet train",
    )
