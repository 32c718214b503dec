"""What a plain folder gives a training, for a person who may have expected something else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arnet.config import Config
from arnet.data import SegmentationDataset, davis, folder
from arnet.data.files import some
from arnet.inputs import images_to_read, open_split, uses_absent
from arnet.modeling import Backbone
from arnet.runtime.errors import ArnetError

_NAMED = 8
"""Classes that are told one by one; of more, how many photographs they have."""
_SHARES = {"folder": folder.MIN_SHARE, "davis": davis.MIN_SHARE}


@dataclass(frozen=True)
class Contents:
    """What is trained on, and what is kept to measure with.

    Attributes:
        lines: to be told before the training.
        measurable: whether ``arnet eval`` can measure one shot on what is kept.
    """

    lines: tuple[str, ...] = ()
    measurable: bool = True


def contents_of(config: Config, training: SegmentationDataset) -> Contents:
    """What the configured folder holds; nothing of data sets that others have put together."""
    note = (training.note,) if training.note else ()
    if config.data.kind != "folder":
        return Contents(note)
    queries = training.unmarked if uses_absent(config) else []
    lines = [*note, f"training on {_counts(training)}", *left_out(config, training, queries)]
    if queries:
        lines.append(f"{_photographs(len(queries))} that show nothing: queries for train.absent")
    try:
        kept = open_split(config, "val")
    except ArnetError as error:
        # The training does not need them: it is the evaluation that they stop.
        lines.append(f"warning: what is kept for validation cannot be used: {error.message}")
        return Contents(tuple(lines), False)
    lines += [f"kept for validation: {_counts(kept)}", *left_out(config, kept)]
    measurable = bool(kept.classes_with(2))
    if not measurable:
        lines.append(
            "warning: arnet eval cannot measure this training: one shot needs two photographs of "
            "a class that are kept for validation; add some, or name more of them in val.txt "
            "and the rest in train.txt"
        )
    return Contents(tuple(lines), measurable)


def left_out(
    config: Config, dataset: SegmentationDataset, queries: Sequence[str] = ()
) -> list[str]:
    """Photographs that serve for nothing, a line for each reason.

    Those that show nothing but classes that are held out were meant to, and are not among them;
    nor are ``queries``, which serve for what they do not show.
    """
    used = {image_id for image_id, _ in dataset.pairs}.union(queries)
    offered = set(dataset.classes)
    share = config.data.min_share or _SHARES.get(config.data.kind)
    too_little = "too little is marked" + (f" (under {100 * share:g} %)" if share else "")
    reasons: dict[str, list[str]] = {"their masks mark nothing": [], too_little: []}
    empty, small = reasons.values()
    for image_id in dataset.ids:
        if image_id not in used:
            shown = dataset.scan[image_id].pixels
            if not shown:
                empty.append(image_id)
            elif offered & shown.keys():
                small.append(image_id)
    return [
        f"left out {_photographs(len(names))}, {why}: {some(names)}"
        for why, names in reasons.items()
        if names
    ]


def cache_size(
    config: Config, backbone: Backbone, dataset: SegmentationDataset, training: bool
) -> str:
    """How much the backbone's features of a data set take on the disk, in words."""
    side = config.data.image_size
    cells = math.ceil(side / config.model.backbone.output_stride) ** 2
    of_a_view = 2 * backbone.channels * cells + side**2  # bfloat16, and the mask in bytes
    images = len(images_to_read(config, dataset, training))
    size = images * (config.data.cache_views if training else 1) * of_a_view / 1e6
    number = f"{size:.0f}" if size >= 10 else f"{size:.1f}"
    return f"features of {_photographs(images)} are kept in {config.data.cache}: {number} MB"


def _counts(dataset: SegmentationDataset) -> str:
    numbers = {dataset.class_names[c]: len(dataset.by_class[c]) for c in dataset.classes}
    if len(numbers) <= _NAMED:
        classes = ", ".join(f"{name} {number}" for name, number in numbers.items())
    else:
        least, most = min(numbers.values()), max(numbers.values())
        classes = f"{len(numbers)} classes, of {least} to {most} each"
    return f"{_photographs(len({image_id for image_id, _ in dataset.pairs}))} ({classes})"


def _photographs(number: int) -> str:
    return f"{number} photograph" + ("" if number == 1 else "s")
