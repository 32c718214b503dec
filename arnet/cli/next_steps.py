"""The command that follows where it hangs on what a folder holds."""

from __future__ import annotations

from pathlib import Path

_SUPPORTS = 50
"""Photographs of a folder up to which it may serve as supports, each read for this."""


def export_command(checkpoint: Path, root: Path, most: int) -> tuple[object, ...]:
    """How to make a bundle of what was trained on a plain folder.

    Args:
        checkpoint: of the training.
        root: the folder.
        most: validation photographs of the class that has most of them.

    Returns:
        The words; the bundle is compared with the checkpoint on the folder's own photographs where
        they can serve, else on those of ``examples/``.
    """
    from arnet.export.episodes import MOST_SHOTS

    if most > MOST_SHOTS:
        real: tuple[object, ...] = ("--data", root)
    else:
        real = ("--support", root if _all_marked(root) else "examples/horse")
    words = ("arnet", "export", "--checkpoint", checkpoint, *real)
    return (*words, "--out", checkpoint.parent / "bundle")


def _all_marked(root: Path) -> bool:
    """Whether every photograph has a mask that marks something, as support folders need."""
    from arnet.runtime.finding import images_in
    from arnet.runtime.images import read_mask

    photographs = images_in(root / "images")
    if len(photographs) > _SUPPORTS:
        return False
    masks = (root / "masks" / f"{path.stem}.png" for path in photographs)
    return all(mask.is_file() and read_mask(mask).any() for mask in masks)
