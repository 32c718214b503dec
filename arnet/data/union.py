"""Several data sets as one: all their photographs, and all their classes side by side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from arnet.config import MemberConfig
from arnet.data.coco import coco
from arnet.data.dataset import (
    ImageSource,
    Novel,
    SegmentationDataset,
    Split,
    build_dataset,
    check_split,
)
from arnet.data.davis import davis
from arnet.data.folder import folder
from arnet.data.pascal import pascal
from arnet.data.scan import Presence, Scan
from arnet.runtime.annotations.common import IGNORE
from arnet.runtime.errors import DataError

MEMBERS: dict[str, Callable[..., SegmentationDataset]] = {
    "pascal": pascal,
    "coco": coco,
    "folder": folder,
    "davis": davis,
}
"""Function that opens each kind of data set that can be a member."""

MAX_CLASSES = IGNORE - 1


@dataclass(frozen=True)
class UnionSource:
    """The pixels of all members; an image id is ``member/id``.

    Attributes:
        sources: of the members, by name.
        first: what is added to the class ids of each member.
    """

    sources: dict[str, ImageSource]
    first: dict[str, int]

    def image(self, image_id: str) -> np.ndarray:
        """Photograph, uint8 RGB of shape (H, W, 3)."""
        member, own = image_id.split("/", 1)
        return self.sources[member].image(own)

    def mask(self, image_id: str) -> np.ndarray:
        """Index mask, uint8 of shape (H, W), in the class ids of the union."""
        member, own = image_id.split("/", 1)
        mask = self.sources[member].mask(own)
        return np.where((mask == 0) | (mask == IGNORE), mask, mask + self.first[member])


def union(
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    *,
    members: Sequence[MemberConfig],
    held_out: Sequence[str] = (),
    annotations: Literal["aug", "voc"] = "aug",
    year: int = 2014,
    classes: Sequence[int] | None = None,
    cache_dir: str | Path | None = None,
) -> SegmentationDataset:
    """Opens several data sets as one.

    Classes are called ``member/class``. The split of each member is its own; with ``novel="drop"``
    the training images that show a novel class are not trained on, so that "val" offers them, too,
    which is many more images to evaluate on.

    Args:
        root: the folder that the members' folders are seen from.
        split: ``"train"`` offers the base classes, ``"val"`` the novel ones.
        fold: None; a union has no folds.
        novel: see :func:`~arnet.data.dataset.build_dataset`.
        members: the data sets.
        held_out: names of the novel classes, in which ``*`` stands for any characters.
        annotations: masks of those members that are PASCAL; see :func:`~arnet.data.pascal.pascal`.
        year: of those that are COCO.
        classes: class ids to offer in place of those of the split.
        cache_dir: folder where scans of the masks are kept; None scans every time.

    Raises:
        DataError: members share a name or have too many classes, ``held_out`` fits no class, there
            is a fold, or a member is not as it should be.
    """
    check_split(split)
    if fold is not None:
        raise DataError(f"a union has no fold {fold}", "hold classes out: data.held_out")
    if len({member.name for member in members}) < len(members):
        raise DataError("two members of the union have the same name", "give each its own")
    options: dict[str, dict[str, Any]] = {
        "pascal": {"annotations": annotations},
        "coco": {"year": year},
        # As the models in weights/ were trained and measured.
        "folder": {"by": "place"},
    }
    parts = {
        member.name: {
            which: MEMBERS[member.kind](
                Path(root) / member.root,
                which,
                cache_dir=cache_dir,
                **options.get(member.kind, {}),
            )
            for which in ("train", "val")
        }
        for member in members
    }
    names, first = _classes({name: both["train"].class_names for name, both in parts.items()})
    novel_classes = _held_out(names, held_out)
    scan: dict[str, Scan] = {which: {} for which in ("train", "val")}
    for name, both in parts.items():
        for which, part in both.items():
            scan[which] |= {f"{name}/{i}": _moved(part.scan[i], first[name]) for i in part.ids}
    # A member has one source for each of its splits.
    sources = {
        which: UnionSource({name: both[which].source for name, both in parts.items()}, first)
        for which in ("train", "val")
    }
    ids = list(scan[split])
    source: ImageSource = sources[split]
    if split == "val" and novel == "drop":
        hidden = [i for i, seen in scan["train"].items() if novel_classes & seen.pixels.keys()]
        source = _EitherSource(set(hidden), sources["train"], sources["val"])
        ids += hidden
    both_scans = scan["train"] | scan["val"]
    counted = novel_classes if split == "val" and novel_classes else set(names) - novel_classes
    if split == "train" and novel == "drop":
        ids = [i for i in ids if novel_classes.isdisjoint(both_scans[i].pixels)]
    for member in members:
        ids = _limited(ids, both_scans, member, counted if classes is None else set(classes))
    dataset = build_dataset(
        f"union of {', '.join(parts)} {split}",
        names,
        ids,
        source,
        both_scans,
        split=split,
        novel_classes=novel_classes,
        novel=novel,
        classes=classes,
    )
    groups = tuple(
        (member.share, tuple(c for c, name in names.items() if name.startswith(f"{member.name}/")))
        for member in members
    )
    return replace(dataset, groups=groups)


@dataclass(frozen=True)
class _EitherSource:
    """Some images from one source, all others from another."""

    some: set[str]
    first: ImageSource
    second: ImageSource

    def image(self, image_id: str) -> np.ndarray:
        return (self.first if image_id in self.some else self.second).image(image_id)

    def mask(self, image_id: str) -> np.ndarray:
        return (self.first if image_id in self.some else self.second).mask(image_id)


def _classes(members: Mapping[str, Mapping[int, str]]) -> tuple[dict[int, str], dict[str, int]]:
    """All classes by their new ids, and what was added to the ids of each member."""
    names: dict[int, str] = {}
    first: dict[str, int] = {}
    for member, own in members.items():
        first[member] = max(names, default=0)
        names |= {first[member] + number: f"{member}/{name}" for number, name in own.items()}
    if max(names, default=0) > MAX_CLASSES:
        raise DataError(
            f"the union has class ids up to {max(names)}",
            f"a mask has room for {MAX_CLASSES}: leave a member out",
        )
    return names, first


def _held_out(names: Mapping[int, str], patterns: Sequence[str]) -> frozenset[int]:
    chosen: set[int] = set()
    for pattern in patterns:
        found = {c for c, name in names.items() if fnmatchcase(name, pattern)}
        if not found:
            raise DataError(
                f"held_out names {pattern}, which is no class of the union",
                f"its classes are {', '.join(names.values())}",
            )
        chosen |= found
    return frozenset(chosen)


def _moved(presence: Presence, first: int) -> Presence:
    return Presence(
        {c + first: n for c, n in presence.pixels.items()},
        tuple(c + first for c in presence.usable),
    )


def _limited(
    ids: list[str], scan: Scan, member: MemberConfig, classes: Collection[int]
) -> list[str]:
    """The images without those of a member whose every class has enough, in a fixed order."""
    own = [i for i in ids if i.startswith(f"{member.name}/")]
    if not member.limit:
        return ids
    count: Counter[int] = Counter()
    kept: set[str] = set()
    for image in sorted(own, key=lambda i: hashlib.sha256(i.encode()).digest()):
        usable = [c for c in scan[image].usable if c in classes]
        if any(count[c] < member.limit for c in usable):
            kept.add(image)
            count.update(usable)
    return [i for i in ids if i in kept or not i.startswith(f"{member.name}/")]
