"""Where results may lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from arnet.runtime.annotations.matching import IMAGE_FOLDERS, SupportFolder
from arnet.runtime.errors import OutputError
from arnet.runtime.finding import Query
from arnet.runtime.supports import Support


def check_out(
    out: Path,
    queries: Iterable[Query],
    supports: Mapping[str, Sequence[Support]],
    folders: Sequence[Path],
) -> None:
    """Results never lie among photographs: they would be taken for photographs and annotations.

    Args:
        out: the folder for the results; it need not be there.
        queries: photographs to segment; their names may have folders, which results lie in, too.
        supports: the annotated photographs, by class.
        folders: the support folders that were given.

    Raises:
        OutputError: a folder for results is one of the input, or a pattern that searched folders
            found photographs in the one for the results.
    """
    queries = list(queries)
    place = out.resolve()
    taken = {folder.resolve() for folder in folders}
    with_masks: set[Path] = set()
    paths = [query.path for query in queries]
    paths += [support.path for members in supports.values() for support in members]
    # A photograph may be a link: it lies in two folders then.
    for folder in {f for path in paths for f in (path.parent.resolve(), path.resolve().parent)}:
        taken.add(folder)
        with_masks |= {folder, folder.parent}
        for images in (folder, folder.parent):  # the subsets of images/ may be folders of their own
            if images.name.lower() in map(str.lower, IMAGE_FOLDERS):
                taken |= {images, images.parent}
                with_masks.add(images.parent)
    # Where sub-folders are the classes, one with results would be a class, too.
    of_classes = {f.resolve() for f in folders if SupportFolder.class_folders(f)}
    for written in {place} | {(place / query.name).parent for query in queries}:
        of_masks = (f for f in (written, written.parent) if f.name.lower() == "masks")
        among_masks = any(folder.parent in with_masks for folder in of_masks)
        if written in taken or among_masks or of_classes & set(written.parents):
            raise OutputError(
                f"the results would lie among the photographs and masks in {_below(out, written)}",
                "choose another --out",
            )
    for query in queries:
        if "/" in query.name and place in query.path.resolve().parents:
            raise OutputError(
                f"{query.path} lies in {out}, where the results of another run may be",
                "choose another --out, or a pattern that does not search it",
            )


def _below(out: Path, written: Path) -> Path:
    """The folder as the user would name it."""
    return out / written.relative_to(out.resolve())
