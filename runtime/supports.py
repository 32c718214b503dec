"""A folder of annotated photographs becomes supports: image, mask, and what was used.

For each photograph the first annotation of this list wins:

1. ``a.png``, ``a_mask.png`` or ``a.mask.png`` beside ``a.jpg`` or in the folder's ``masks/``;
2. ``a.json``: labelme, COCO, SAM or a prompt list, told apart by their keys;
3. ``a.xml``: Pascal VOC boxes;
4. ``SegmentationClass/a.png`` (or ``SegmentationClassPNG/``), then ``Annotations/a.xml``, beside
   ``JPEGImages/``;
5. the one COCO file of the folder (or of its ``annotations/``);
6. ``a.txt`` beside ``a.jpg`` or in ``labels/``: YOLO.

Names match by the exact stem, never by order. Where ``images/`` holds sub-folders only, such as
``images/train/``, their photographs are taken, with ``masks/train/``, ``labels/train/`` and
``annotations/instances_train.json``. A photograph without annotation is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.annotations import Kind, boxes_from_mask
from arnet.runtime.annotations.labelled import Labelled
from arnet.runtime.annotations.matching import SupportFolder
from arnet.runtime.errors import AnnotationError
from arnet.runtime.images import read_image

UNNAMED = "object"
"""Name of the class whose annotations carry no label."""

AnnotationUse = Literal["as-is", "box"]


@dataclass(frozen=True)
class Support:
    """One annotated photograph.

    Attributes:
        path: the photograph.
        image: (H, W, 3) uint8, RGB, upright; shared by the labels of a photograph.
        mask: (H, W) uint8, 0 background, 1 object, 255 ignored. Boxes are filled.
        kind: "box" if the object is known by boxes only, "mask" otherwise.
        source: what was used, for the user, such as
            "a.jpg: a_mask.png (mask, 2 values, 23 % marked)".
        label: the label in the annotation, None if it has none.
    """

    path: Path
    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.uint8] = field(repr=False)
    kind: Kind
    source: str
    label: str | None


def read_supports(
    folder: str | Path, label: str | None = None, annotation: AnnotationUse = "as-is"
) -> list[Support]:
    """Read the supports of one class.

    Args:
        folder: annotated photographs, or a folder of such folders, one per class.
        label: which class, needed if there are several. Photographs without it are no supports.
        annotation: "box" replaces masks by the filled boxes of their connected components.

    Returns:
        The supports, sorted by the photograph's name, at least one.

    Raises:
        AnnotationError: if the folder is missing or empty, an annotation is missing, ambiguous,
            empty or malformed, or the label is needed or unknown.
        ImageError: if a photograph or mask cannot be read.
    """
    classes = _read_classes(Path(folder))
    if label is None and len(classes) > 1:
        raise AnnotationError(
            f"{folder} has several labels: {', '.join(classes)}.",
            f"Choose one: --label {next(iter(classes))}, or take them all: --label all. Numbers are"
            " the values of masks; if they mean the same thing, save the masks with two values, 0"
            " and 255.",
        )
    chosen = next(iter(classes)) if label is None else label
    return _supports(folder, classes, [chosen], annotation)[chosen]


def read_support_classes(
    folder: str | Path, annotation: AnnotationUse = "as-is", labels: Sequence[str] = ()
) -> dict[str, list[Support]]:
    """Read the supports of every class, each photograph once.

    The classes are the sub-folders if no photographs lie in the folder itself (and the sub-folders
    are not ``images``, ``masks`` and the like), otherwise the labels of the annotations.

    Args:
        folder: as for :func:`read_supports`.
        annotation: as for :func:`read_supports`.
        labels: the classes that are wanted, in this order; none for all of them.

    Returns:
        The supports by class name, sorted (numbers by their value); a class without a name is
        called "object".

    Raises:
        AnnotationError: as for :func:`read_supports`.
        ImageError: if a photograph or mask cannot be read.
    """
    classes = _read_classes(Path(folder))
    return _supports(folder, classes, labels or list(classes), annotation)


def _read_classes(folder: Path) -> dict[str, list[Labelled]]:
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "does not exist"
        raise AnnotationError(
            f"The support folder {folder} {found}.", "Give a folder of annotated photographs."
        )
    sub_folders = SupportFolder.class_folders(folder)
    if not sub_folders:
        return _by_label(SupportFolder(folder).annotations())
    classes = {}
    by_name = {sub_folder.name: sub_folder for sub_folder in sub_folders}
    for name in _in_order(by_name):
        sub_folder = by_name[name]
        labels = _by_label(SupportFolder(sub_folder).annotations())
        if len(labels) > 1 and name not in labels:
            raise AnnotationError(
                f"{sub_folder} has several labels: {', '.join(labels)}; none is '{name}', the"
                " folder's name.",
                "Name the folder after the label that is meant.",
            )
        chosen = labels[name] if name in labels else next(iter(labels.values()))
        classes[name] = [replace(found, label=name) for found in chosen]
    return classes


def _by_label(found: list[Labelled]) -> dict[str, list[Labelled]]:
    named = {item.label for item in found if item.label is not None}
    if len(named) <= 1:  # annotations without a label mean the only thing there is
        return {next(iter(named), UNNAMED): found}
    for item in found:
        if item.label is None:
            raise AnnotationError(
                f"{item.source} has no label, but others have: {', '.join(_in_order(named))}.",
                "Label it, or put each class into a folder of its own.",
            )
    return {name: [item for item in found if item.label == name] for name in _in_order(named)}


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort names as text, or as numbers where all are: 7 goes before 10, as in the masks."""
    found = sorted(names)
    return sorted(found, key=int) if all(name.isdecimal() for name in found) else found


def _supports(
    folder: str | Path,
    classes: dict[str, list[Labelled]],
    labels: Iterable[str],
    annotation: AnnotationUse,
) -> dict[str, list[Support]]:
    read = cache(read_image)  # a photograph with several labels is decoded and held once
    supports = {}
    for label in labels:
        if label not in classes:
            raise _unknown_label(folder, classes, label)
        supports[label] = [
            _support(found, read(found.path), annotation) for found in classes[label]
        ]
    return supports


def _unknown_label(
    folder: str | Path, classes: dict[str, list[Labelled]], label: str
) -> AnnotationError:
    if all(found.label is None for members in classes.values() for found in members):
        return AnnotationError(
            f"{folder} has no label '{label}': its annotations have none and mean one class.",
            "Leave --label out.",
        )
    return AnnotationError(
        f"{folder} has no label '{label}'; it has: {', '.join(classes)}.",
        "Choose one of these" + (", or leave --label out." if len(classes) == 1 else "."),
    )


def _support(found: Labelled, image: NDArray[np.uint8], annotation: AnnotationUse) -> Support:
    mask, kind, source = found.mask, found.kind, found.source
    if annotation == "box" and kind == "mask":
        mask, kind = boxes_from_mask(mask), "box"
        source = f"{source[:-1]}, turned into boxes)"
    # An inverted mask, or a white one, shows here.
    source = f"{source[:-1]}, {_percent(float(np.mean(mask == 1)))} marked)"
    return Support(found.path, image, mask, kind, source, found.label)


def _percent(share: float) -> str:
    if share < 0.0001:
        return "less than 0.01 %"
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.0f} %"
