"""What every data set is: photographs, index masks, and the pairs that episodes are drawn from.

A data set is one :class:`SegmentationDataset`, whatever files it comes from; the files stand behind
an :class:`ImageSource`. The modules ``pascal``, ``coco``, ``folder``, ``davis`` and ``union`` each
hold one function that builds it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from arnet.data.scan import Scan
from arnet.runtime.errors import DataError

Split = Literal["train", "val"]
Novel = Literal["background", "drop"]


class ImageSource(Protocol):
    """Where the pixels of a data set come from."""

    def image(self, image_id: str) -> np.ndarray:
        """Photograph, uint8 RGB of shape (H, W, 3)."""
        ...

    def mask(self, image_id: str) -> np.ndarray:
        """Index mask, uint8 of shape (H, W): 0 background, class ids, 255 ignore."""
        ...


@dataclass(frozen=True)
class SegmentationDataset:
    """Photographs with index masks, and the (image, class) pairs that serve as support or query.

    Attributes:
        name: what the data are, for reports, such as ``"pascal fold 0 val"``.
        class_names: name of every class id of the data set, background left out.
        classes: class ids that episodes may be about; a class without any pair is among them.
        ids: image ids, in the order of the list.
        pairs: (image id, class id) that pass the small-object filter, for ``classes`` only, in the
            order of ``ids``.
        source: where the pixels come from.
        scan: classes of every image, before any filter.
        hidden: class ids whose pixels :meth:`mask` gives as background, since a training must not
            see them.
        groups: (share, class ids) of classes that training draws from in these shares; none draws
            every class equally often.
        note: what a person should know of how the files were understood, or nothing.
    """

    name: str
    class_names: dict[int, str]
    classes: tuple[int, ...]
    ids: list[str]
    pairs: list[tuple[str, int]]
    source: ImageSource = field(repr=False)
    scan: Scan = field(repr=False)
    hidden: frozenset[int] = frozenset()
    groups: tuple[tuple[float, tuple[int, ...]], ...] = ()
    note: str = ""

    def image(self, image_id: str) -> np.ndarray:
        """Photograph of an image.

        Args:
            image_id: one of ``ids``.

        Returns:
            uint8 RGB of shape (H, W, 3).

        Raises:
            ImageError: the file cannot be read.
        """
        return self.source.image(image_id)

    def mask(self, image_id: str) -> np.ndarray:
        """Index mask of an image, of the size of its photograph.

        Args:
            image_id: one of ``ids``.

        Returns:
            uint8 of shape (H, W): 0 background, class ids, 255 ignore. Hidden classes are 0.

        Raises:
            ImageError: the file cannot be read.
            AnnotationError: the file is an image but no index mask.
        """
        mask = self.source.mask(image_id)
        if not self.hidden:
            return mask
        return np.where(np.isin(mask, list(self.hidden)), 0, mask).astype(np.uint8)

    @cached_property
    def by_class(self) -> dict[int, list[str]]:
        """Image ids of the pairs of each class; every one of ``classes`` is a key."""
        found: dict[int, list[str]] = {class_id: [] for class_id in self.classes}
        for image_id, class_id in self.pairs:
            found[class_id].append(image_id)
        return found

    @cached_property
    def unmarked(self) -> list[str]:
        """Image ids whose masks mark nothing: queries that do not show what is asked for."""
        return [image_id for image_id in self.ids if not self.scan[image_id].pixels]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the image ids in their order: with others, there are other episodes."""
        return hashlib.sha256(os.fsencode("\n".join(self.ids))).hexdigest()

    @property
    def marks(self) -> list[str]:
        """What stands for the image ids where they are nobody's business: 8 hexadecimal digits."""
        return [_mark(image_id) for image_id in self.ids]

    def among(self, marks: Collection[str]) -> list[str]:
        """Those image ids that have one of these :attr:`marks`, of this data set or of another."""
        known = set(marks)
        return [image_id for image_id in self.ids if _mark(image_id) in known]

    def classes_with(self, images: int) -> tuple[int, ...]:
        """Those of ``classes`` that have at least so many images, k + 1 of which k shots need."""
        return tuple(c for c in self.classes if len(self.by_class[c]) >= images)


def _mark(image_id: str) -> str:
    return hashlib.sha256(os.fsencode(image_id)).hexdigest()[:8]


def count_shots(shots: int) -> str:
    """Shots in words: ``1 shot``, ``5 shots``."""
    return f"{shots} shot" + ("" if shots == 1 else "s")


def interleaved_fold(class_ids: Sequence[int], fold: int, folds: int) -> tuple[int, ...]:
    """Every ``folds``-th class beginning with number ``fold``, the COCO-20i way.

    Raises:
        DataError: there is no such fold, or so few classes that it has none.
    """
    check_fold(fold, folds)
    if fold >= len(class_ids):
        raise DataError(
            f"fold {fold} of {len(class_ids)} classes holds none out",
            f"a fold is every {folds}th class from its own number on: choose one from 0 to "
            f"{len(class_ids) - 1}",
        )
    return tuple(class_ids[fold::folds])


def check_fold(fold: int, folds: int) -> None:
    """Raises DataError unless 0 <= fold < folds."""
    if not 0 <= fold < folds:
        raise DataError(
            f"there is no fold {fold}: the classes are divided into {folds} folds",
            f"choose a fold from 0 to {folds - 1}",
        )


def check_split(split: str) -> None:
    """Raises DataError unless the split is "train" or "val"."""
    if split not in ("train", "val"):
        raise DataError(f'there is no split "{split}"', 'choose "train" or "val"')


def build_dataset(
    name: str,
    class_names: Mapping[int, str],
    ids: Iterable[str],
    source: ImageSource,
    scan: Scan,
    *,
    split: Split,
    novel_classes: Collection[int],
    novel: Novel = "background",
    classes: Sequence[int] | None = None,
) -> SegmentationDataset:
    """Puts a data set together by the rule that training images never show a novel class as such.

    Args:
        name: what the data are, for reports.
        class_names: name of every class id, background left out.
        ids: image ids in the order of the list.
        source: where the pixels come from.
        scan: classes of every image.
        split: ``"train"`` offers the base classes and hides the novel ones; ``"val"`` offers the
            novel classes and hides nothing. With no novel classes both offer all of them.
        novel_classes: class ids held out for the evaluation.
        novel: what becomes of training images that show a novel class, as few pixels as it may be.
            ``"background"`` keeps them and labels those pixels background (the lists of CANet and
            HSNet); ``"drop"`` leaves them out (the lists of BAM).
        classes: class ids to offer in place of those that ``split`` gives; for instance the base
            classes on the val images, to choose a checkpoint without looking at the novel ones.

    Raises:
        DataError: an unknown word for ``split`` or ``novel``, an unknown class, or a novel class
            asked for in a training.
    """
    check_split(split)
    if novel not in ("background", "drop"):
        raise DataError(
            f'"{novel}" is no rule for novel classes in training images',
            'choose "background" or "drop"',
        )
    held_out = frozenset(novel_classes)
    hidden = held_out if split == "train" else frozenset[int]()
    if classes is None:
        wanted = held_out if split == "val" and held_out else set(class_names) - held_out
        classes = sorted(wanted)
    _check_classes(classes, class_names, hidden)
    ids = list(dict.fromkeys(ids))  # an image listed twice could be its own support
    if novel == "drop":
        ids = [i for i in ids if hidden.isdisjoint(scan[i].pixels)]
    offered = set(classes)
    pairs = [(i, c) for i in ids for c in scan[i].usable if c in offered]
    return SegmentationDataset(
        name=name,
        class_names=dict(class_names),
        classes=tuple(classes),
        ids=ids,
        pairs=pairs,
        source=source,
        scan=scan,
        hidden=hidden,
    )


def _check_classes(
    classes: Sequence[int], class_names: Mapping[int, str], hidden: frozenset[int]
) -> None:
    unknown = sorted(set(classes) - set(class_names))
    if unknown:
        raise DataError(
            f"the data set has no class {', '.join(map(str, unknown))}",
            f"its class ids are {', '.join(map(str, sorted(class_names)))}",
        )
    leaked = sorted(set(classes) & hidden)
    if leaked:
        names = ", ".join(f"{c} {class_names[c]}" for c in leaked)
        raise DataError(
            f"novel classes were asked for in a training: {names}",
            "leave them out of classes, or choose another fold",
        )
