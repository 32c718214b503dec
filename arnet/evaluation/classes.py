"""Which classes an evaluation is about, as a person names them, and how to name them to it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from arnet.data import SegmentationDataset
from arnet.data.dataset import count_shots
from arnet.runtime.errors import DataError


def choose_classes(
    dataset: SegmentationDataset, wanted: Sequence[str], shots: int
) -> tuple[int, ...]:
    """The ids of the classes to evaluate, in the order they are asked for.

    Args:
        dataset: what it is measured on.
        wanted: names, or several with commas between them; what is no name is a pattern, such as
            ``voc/*``: all of these that have images enough. None of them: all that have.
        shots: k, for which a class needs k + 1 images.

    Raises:
        DataError: there is no such class, or one has too few images.
    """
    enough = dataset.classes_with(shots + 1)
    if not wanted:
        return enough or dataset.classes
    ids = {dataset.class_names[c]: c for c in dataset.classes}
    chosen: list[int] = []
    for text in wanted:
        # A name may have a comma or a bracket in it: it is looked for as it is, before anything.
        for word in [text] if text in ids else [part.strip() for part in text.split(",")]:
            if word in ids:
                found = [ids[word]]
            else:
                found = [c for name, c in ids.items() if fnmatchcase(name, word)]
                found = [c for c in found if c in enough] or found
            if not found:
                raise _unknown(dataset, word)
            chosen += found
    short = [c for c in chosen if c not in enough]
    if short and enough:  # where no class has enough, drawing the episodes says so
        counts = ", ".join(f"{dataset.class_names[c]} {len(dataset.by_class[c])}" for c in short)
        fewer = "take fewer shots, or " if shots > 1 else ""
        raise DataError(
            f"{count_shots(shots)} need{'s' if shots == 1 else ''} {shots + 1} images of each "
            f"class; {dataset.name} has fewer of: {counts}",
            f"{fewer}take classes with enough: "
            + classes_option(dataset.class_names[c] for c in enough),
        )
    return tuple(dict.fromkeys(chosen))


def classes_option(names: Iterable[str]) -> str:
    """What to type for classes: one ``--classes``, or one for each where a name has a comma."""
    names = list(names)
    values = names if any("," in name for name in names) else [",".join(names)]
    return " ".join(f"--classes {shlex.quote(value)}" for value in values)


def _unknown(dataset: SegmentationDataset, name: str) -> DataError:
    offered = ", ".join(shlex.quote(dataset.class_names[c]) for c in dataset.classes)
    if name in dataset.class_names.values():
        return DataError(
            f"{dataset.name} is about classes that are held out, and {name} is not",
            f"they are {offered}; data.fold=null, or data.held_out=[], holds none out",
        )
    return DataError(f"{dataset.name} has no class {name}", f"it has {offered}")
