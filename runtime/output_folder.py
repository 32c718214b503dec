"""Where results may lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from arnet.runtime.errors import OutputError
from arnet.runtime.matching import IMAGE_FOLDERS, SupportFolder
from arnet.runtime.supports import Support


def check_out(
    out: Path,
    queries: Iterable[Path],
    supports: Mapping[str, Sequence[Support]],
    folders: Sequence[Path],
) -> None:
    """Results never lie among photographs: they would be taken for photographs and annotations.

    Args:
        out: the folder for the results; it need not be there.
        queries: photographs to segment.
        supports: the annotated photographs, by class.
        folders: the support folders that were given.

    Raises:
        OutputError: the folder for the results is one of the input.
    """
    place = out.resolve()
    taken = {folder.resolve() for folder in folders}
    with_masks: set[Path] = set()
    paths = (s.path for members in supports.values() for s in members)
    for path in (*queries, *paths):
        # A photograph may be a link: it lies in two folders then.
        for folder in (path.parent.resolve(), path.resolve().parent):
            taken.add(folder)
            with_masks |= {folder, folder.parent}
            if folder.name.lower() in map(str.lower, IMAGE_FOLDERS):
                taken.add(folder.parent)
    # Where sub-folders are the classes, one with results would be a class, too.
    of_classes = (f.resolve() for f in folders if SupportFolder.class_folders(f))
    among_masks = place.name.lower() == "masks" and place.parent in with_masks
    if place in taken or among_masks or any(folder in place.parents for folder in of_classes):
        raise OutputError(
            f"the results would lie among the photographs and masks in {out}",
            "choose another --out",
        )
