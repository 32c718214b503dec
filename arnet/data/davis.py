"""DAVIS 2016: video sequences with one object each; every sequence is a class of its own.

Frames of one sequence are near duplicates, so a support and a query from it ask for tracking more
than for recognition.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from arnet.data.dataset import (
    Novel,
    SegmentationDataset,
    Split,
    build_dataset,
    check_split,
    interleaved_fold,
)
from arnet.data.files import FileSource
from arnet.data.scan import AreaFilter
from arnet.runtime.errors import DataError
from arnet.runtime.images import read_mask

FOLDS = 4
MIN_SHARE = 0.005


class SequenceSource(FileSource):
    """Frames beside their 0/1 masks; the object of a mask gets the class of its sequence."""

    def mask(self, image_id: str) -> np.ndarray:
        """Index mask, uint8 of shape (H, W)."""
        number = self.numbers[image_id.split("/")[0]]
        return np.where(read_mask(self.masks[image_id]) > 0, number, 0).astype(np.uint8)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Class id of every sequence."""
        return {n: i for i, n in enumerate(sorted({i.split("/")[0] for i in self.masks}), start=1)}


def davis(
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    *,
    classes: Sequence[int] | None = None,
    min_share: float = MIN_SHARE,
    val_every: int = 5,
    cache_dir: str | Path | None = None,
) -> SegmentationDataset:
    """Opens a folder of sequences.

    As DAVIS is published, ``JPEGImages/480p/SEQUENCE/FRAME.jpg`` with a mask of the same name in
    ``Annotations/480p/``, or plainly ``SEQUENCE/FRAME.jpg`` beside ``SEQUENCE/FRAME.png``.

    Args:
        root: the folder.
        split: ``"train"`` or ``"val"``. With a fold they have other sequences. Without, every
            ``val_every``-th frame is for val, which looks much like its neighbours in train.
        fold: 0..3 holds every fourth sequence out; None none.
        novel: see :func:`~arnet.data.dataset.build_dataset`; no frame shows two sequences.
        classes: class ids to offer in place of those of the split.
        min_share: least share of the frame that the object must cover, 0..1.
        val_every: see above.
        cache_dir: folder where the scan of the masks is kept; None scans every time.

    Raises:
        DataError: the folder holds no sequences, or a frame has no mask.
        ImageError: a file cannot be read.
    """
    check_split(split)
    root = Path(root)
    photographs, masks = root / "JPEGImages" / "480p", root / "Annotations" / "480p"
    if not photographs.is_dir():
        photographs = masks = root
    frames = sorted(photographs.glob("*/*.jpg"))
    if not frames:
        raise DataError(
            f"{root} holds no sequences",
            "it needs JPEGImages/480p/ and Annotations/480p/ as DAVIS has them, or "
            "SEQUENCE/FRAME.jpg beside SEQUENCE/FRAME.png",
        )
    ids = {f"{path.parent.name}/{path.stem}": path for path in frames}
    source = SequenceSource(ids, {name: masks / f"{name}.png" for name in ids})
    missing = [name for name, path in source.masks.items() if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} frames have no mask, {missing[0]} first", "add the masks")
    names = dict(enumerate(sorted({path.parent.name for path in frames}), start=1))
    novel_classes = () if fold is None else interleaved_fold(sorted(names), fold, FOLDS)
    cache = None if cache_dir is None else Path(cache_dir)
    listed = list(ids)
    if fold is None:
        listed = [i for n, i in enumerate(ids) if (n % val_every == 0) == (split == "val")]
    return build_dataset(
        f"{root.resolve().name} {'all sequences' if fold is None else f'fold {fold}'} {split}",
        names,
        listed,
        source,
        source.scan(names, AreaFilter(share=min_share), cache),
        split=split,
        novel_classes=novel_classes,
        novel=novel,
        classes=classes,
    )
