"""What an annotation shows, label by label, and the line that tells the user what was used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.annotations import Annotation, Kind, LabelNames, size_mismatch
from arnet.runtime.annotations.unknown import check_unknown
from arnet.runtime.errors import AnnotationError
from arnet.runtime.images import MOST_LABELS, read_mask


@dataclass(frozen=True)
class Labelled:
    """The annotation of one label in one photograph.

    Attributes:
        path: the photograph.
        mask: (H, W) uint8, 0, 1, 255.
        kind: "mask" or "box".
        source: what was used, for the user; it ends in a bracket.
        label: None if the annotation has none.
        number: whether the label is the value of an index mask without names.
    """

    path: Path
    mask: NDArray[np.uint8]
    kind: Kind
    source: str
    label: str | None
    number: bool = False


def from_mask(
    path: Path, picture: Path, size: tuple[int, int], names: LabelNames, folder: Path
) -> Iterator[Labelled]:
    """Tell what the mask of a photograph shows.

    Args:
        path: the mask.
        picture: its photograph.
        size: (H, W) of the photograph, upright.
        names: what the values of the mask are called, as far as that is known.
        folder: the support folder, for errors.

    Yields:
        One for each label.

    Raises:
        AnnotationError: the mask is empty, of another size, or its values tell no labels.
        ImageError: it cannot be read.
    """
    try:
        values = read_mask(path, names.colours)
    except AnnotationError as error:
        if path.stem == picture.stem and path.parent == picture.parent:
            raise AnnotationError(
                f"{picture.name} and {path.name} in {path.parent} are both photographs, and it"
                " is not clear which one is meant.",
                f"If {path.name} is the mask, save it with one channel; if not, rename it.",
            ) from error
        raise
    if values.shape != size:
        raise size_mismatch(path, values.shape, size)
    present = set(np.unique(values).tolist())
    labels = sorted(present - {0, 255})
    if not present - {0}:
        raise AnnotationError(
            f"{path} is empty: no pixel is marked as object.",
            "Mark the object, or take the photograph out of the folder.",
        )
    if len(labels) > MOST_LABELS and not names.names:
        raise AnnotationError(
            f"{path} has {len(present)} different values: a grey photograph, or a mask with"
            " soft edges or JPEG noise.",
            "Save the mask as PNG with two values, 0 and 255, or one value per label.",
        )
    if len(labels) == 1 and 255 in present and labels[0] not in names.names:
        check_unknown(path, values, labels[0], folder)
    source = f"{picture.name}: {path.name} (mask, {len(present)} value"
    source += "s" * (len(present) > 1)
    if not labels:  # 0 and 255: a plain black-and-white mask
        only = next(iter(names.names.values())) if len(names.names) == 1 else None
        source += ")" if only is None else f", label {only})"
        yield Labelled(picture, (values == 255).astype(np.uint8), "mask", source, only)
    for value in labels:
        mask = np.where(values == 255, values, values == value).astype(np.uint8)
        name = names.names.get(value)
        label = str(value) if name is None else name
        which = "" if label == "1" else f", label {label}"
        yield Labelled(picture, mask, "mask", f"{source}{which})", label, name is None)


def from_shapes(
    annotations: list[Annotation], path: Path, picture: Path, form: str
) -> Iterator[Labelled]:
    """Tell what the shapes of a photograph show.

    Args:
        annotations: one for each label.
        path: the file they are from.
        picture: the photograph.
        form: what the format is called.

    Yields:
        One for each label.

    Raises:
        AnnotationError: there are none, or one covers no pixel.
    """
    if not annotations:
        raise AnnotationError(
            f"{path} has no objects for {picture.name}.",
            "Annotate it, or take the photograph out of the folder.",
        )
    for annotation in annotations:
        if not np.any(annotation.mask == 1):
            raise AnnotationError(
                f"{path}: the annotation of '{annotation.label or 'the object'}' covers no pixel of"
                f" {picture.name}.",
                "Check that it lies inside the picture, then draw it again.",
            )
        what = "filled box" if annotation.kind == "box" else "shape"
        plural = "" if annotation.shapes == 1 else "es" if annotation.kind == "box" else "s"
        source = f"{picture.name}: {path.name} ({form}, {annotation.shapes} {what}{plural}"
        if annotation.crowds:
            regions = "crowd region" if annotation.crowds == 1 else "crowd regions"
            source += f", {annotation.crowds} {regions} left out as unknown"
        source += f", label {annotation.label})" if annotation.label else ")"
        yield Labelled(picture, annotation.mask, annotation.kind, source, annotation.label)
