"""A plain folder of photographs and masks: anybody's own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from arnet.data.dataset import (
    Novel,
    SegmentationDataset,
    Split,
    build_dataset,
    check_split,
    interleaved_fold,
)
from arnet.data.files import FileSource, require_equal_sizes, require_files, require_folder
from arnet.data.scan import AreaFilter, Presence, Scan, require_known
from arnet.data.splits import Splits, by_name, by_place, listed
from arnet.runtime.annotations.common import IGNORE
from arnet.runtime.annotations.voc import label_lines, label_number, read_label_names
from arnet.runtime.errors import AnnotationError, DataError
from arnet.runtime.finding import IMAGE_SUFFIXES, images_in

MIN_SHARE = 0.01


def folder(
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    *,
    folds: int = 4,
    held_out: Sequence[str] = (),
    classes: Sequence[int] | None = None,
    min_share: float = MIN_SHARE,
    val_every: int = 5,
    by: Literal["name", "place"] = "name",
    cache_dir: str | Path | None = None,
) -> SegmentationDataset:
    """Opens a folder with ``images/``, ``masks/`` and ``classes.txt``.

    ``masks/NAME.png`` holds the class index of every pixel of ``images/NAME.jpg`` (or .png, ...):
    0 background, 255 ignore. ``classes.txt`` has a class per line: ``3 belt``, or the name alone,
    numbered from 1, or from 0 where the first is ``background``. Where there is one class, and all
    masks hold nothing but 0 and 255, as those of ``arnet infer``, 255 is that class; where most do
    and some do not, they are refused.

    Where ``train.txt`` and ``val.txt`` lie beside them, with an image name per line, they say which
    images are which; otherwise every ``val_every``-th image by name is for val, the others for
    train. The novel classes are ``held_out`` or those of a fold: every ``folds``-th class,
    interleaved as in COCO-20i. With neither, all classes are in both splits.

    Args:
        root: the folder.
        split: ``"train"`` offers the base classes; ``"val"`` the novel ones on the val images.
        fold: 0..folds-1; None takes ``held_out``.
        novel: what becomes of training images with novel classes, ``"background"`` or ``"drop"``;
            see :func:`~arnet.data.dataset.build_dataset`.
        folds: into how many folds the classes are divided.
        held_out: names of the novel classes, in place of a fold.
        classes: class ids to offer in place of those of the split.
        min_share: least share of the image that a class must cover to be a support or a query,
            0..1. The default is about what the field's filter asks for on PASCAL.
        val_every: see above.
        by: which one of so many: by a hash of its ``"name"``, so that images that are added do not
            move the others, or by its ``"place"``, every so manieth; see :mod:`arnet.data.splits`.
        cache_dir: folder where the scan of the masks is kept; None scans every time.

    Raises:
        DataError: folders, masks, photographs or classes are missing, sizes differ, a mask holds an
            index that is no class, no mask tells which of several classes it shows, most masks hold
            0 and 255 alone and others do not, or ``fold`` and ``held_out`` contradict each other.
        ImageError: a file cannot be read.
    """
    check_split(split)
    root = Path(root)
    require_folder(root)
    class_names = read_classes(root / "classes.txt")
    novel_classes = _novel_classes(class_names, fold, folds, held_out)
    images = _find_images(root / "images")
    lists = listed(root, list(images))
    names = list(images) if lists is None else [i for which in lists.values() for i in which]
    masks = {i: root / "masks" / f"{i}.png" for i in names}
    # Of both splits: 255 means the same in both, and what masks show divides them. Those of this
    # split are there, as is checked below; the others may not be needed.
    everything = FileSource(images, {i: path for i, path in masks.items() if path.is_file()})
    cache = None if cache_dir is None else Path(cache_dir)
    values = everything.scan(range(1, 256), AreaFilter(share=min_share), cache)
    only = _class_of_255(root / "masks", values, class_names)
    scan = {i: _without_255(found, only) for i, found in values.items()}
    require_known(scan, class_names)
    if lists is None:
        lists = _divided(names, scan, val_every, by)
    ids = lists[split]
    source = FileSource({i: images[i] for i in ids}, {i: masks[i] for i in ids}, only)
    require_files(
        f"masks in {root / 'masks'}",
        list(source.masks.values()),
        "every photograph images/NAME.* needs masks/NAME.png; move the others elsewhere",
    )
    require_equal_sizes(source)
    dataset = build_dataset(
        f"{root.resolve().name} {'all classes' if not novel_classes else _label(fold)} {split}",
        class_names,
        ids,
        source,
        scan,
        split=split,
        novel_classes=novel_classes,
        novel=novel,
        classes=classes,
    )
    if source.only is None:
        return dataset
    taken = f"the masks in {root / 'masks'} hold 255 and no class number"
    return replace(dataset, note=f"{taken}: taken as {class_names[source.only]}, the only class")


def read_classes(path: Path) -> dict[int, str]:
    """Reads ``classes.txt`` as ``arnet infer`` does, and refuses what is not meant for a training.

    Args:
        path: see :func:`~arnet.runtime.annotations.voc.read_label_names`.

    Returns:
        Name of every class id, 1..254; index 0, the background, left out.

    Raises:
        DataError: the file is missing, or an index or a name is wrong or given twice.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing", 'write a class per line, such as "1 cat", or just "cat"'
        )
    try:
        lines, names = label_lines(path), read_label_names(path).names
    except AnnotationError as error:
        raise DataError(error.message, error.hint) from error
    numbers = [label_number(line) for line in lines]
    bare = [line for line, number in zip(lines, numbers, strict=True) if number is None]
    if bare and len(bare) < len(lines):
        raise DataError(
            f'{path} numbers some classes but not "{bare[0]}"', "number all lines or none of them"
        )
    twice = not bare and len(set(numbers)) < len(lines)
    if not names or max(names) > 254 or twice or len({*names.values()}) < len(names):
        raise DataError(
            f"{path} does not give every class its own name and an index from 1 to 254",
            "0 is the background and 255 the pixels to ignore; name each class once",
        )
    return names


def _novel_classes(
    class_names: dict[int, str], fold: int | None, folds: int, held_out: Sequence[str]
) -> tuple[int, ...]:
    if fold is not None and held_out:
        raise DataError(
            f"both fold {fold} and held_out ({', '.join(held_out)}) were given",
            "give one of them: either says which classes are novel",
        )
    if fold is not None:
        return interleaved_fold(sorted(class_names), fold, folds)
    number = {name: class_id for class_id, name in class_names.items()}
    unknown = [name for name in held_out if name not in number]
    if unknown:
        raise DataError(
            f"held_out names classes that the data set lacks: {', '.join(unknown)}",
            f"its classes are {', '.join(number)}",
        )
    return tuple(number[name] for name in held_out)


def _class_of_255(folder: Path, values: Scan, class_names: dict[int, str]) -> int | None:
    """The class that 255 stands for, where no mask holds any class number; else None."""
    numbered = sum(bool(found.pixels.keys() - {IGNORE}) for found in values.values())
    marked = sum(found.pixels.keys() == {IGNORE} for found in values.values())
    if len(class_names) == 1 and numbered and marked > numbered:
        # A few numbers, such as one soft pixel, must not turn all objects unknown.
        raise DataError(
            f"{marked} masks in {folder} hold 0 and 255 alone, and {numbered} also other values,"
            " beside which 255 means not known, in all of them",
            "a soft edge or a trimap? save all masks with 0 and 255 only, or write the class's"
            " number of classes.txt in place of 255 in all of them",
        )
    if numbered or not marked:
        return None
    if len(class_names) > 1:
        raise DataError(
            f"the masks in {folder} hold nothing but 0 and 255, which says of no pixel which of "
            f"{len(class_names)} classes it is",
            "write the class's number of classes.txt in place of 255, which means not known; only "
            "where there is a single class does 255 stand for it",
        )
    return next(iter(class_names))


def _without_255(found: Presence, only: int | None) -> Presence:
    """What a mask shows where 255 stands for a class, or for none."""
    classes = {c: c for c in found.pixels} | {IGNORE: only or 0}
    pixels = {classes[c]: n for c, n in found.pixels.items() if classes[c]}
    return Presence(pixels, tuple(classes[c] for c in found.usable if classes[c]))


def _divided(ids: list[str], scan: Scan, val_every: int, by: Literal["name", "place"]) -> Splits:
    if val_every < 2:
        raise DataError(
            f"val_every is {val_every}, which leaves no image for training",
            "choose 2 or more, or write train.txt and val.txt",
        )
    if by == "place":
        return by_place(ids, val_every)
    return by_name(ids, {i: found.usable for i, found in scan.items()}, val_every)


def _find_images(path: Path) -> dict[str, Path]:
    """Photographs by name without suffix, sorted."""
    if not path.is_dir():
        raise DataError(f"the folder {path} is missing", "put the photographs there")
    files = images_in(path)
    images = {p.stem: p for p in files}
    if not files:
        raise DataError(
            f"{path} holds no photographs", f"known endings: {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    if len(images) < len(files):
        twice = sorted({p.stem for p in files if images[p.stem] != p})
        raise DataError(
            f"several photographs share a name and so a mask: {', '.join(twice)}",
            f"keep one file of each name in {path}",
        )
    return images


def _label(fold: int | None) -> str:
    return "held out" if fold is None else f"fold {fold}"
