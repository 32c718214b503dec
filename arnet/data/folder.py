"""A plain folder of photographs and masks: anybody's own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from arnet.data.files import (
    FileSource,
    read_lines,
    require_equal_sizes,
    require_files,
    require_folder,
    some,
)
from arnet.data.scan import AreaFilter
from arnet.runtime.annotations.common import IGNORE
from arnet.runtime.annotations.voc import label_lines, label_number, read_label_names
from arnet.runtime.errors import AnnotationError, DataError
from arnet.runtime.finding import IMAGE_SUFFIXES, images_in
from arnet.runtime.images import read_mask


def folder(
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    *,
    folds: int = 4,
    held_out: Sequence[str] = (),
    classes: Sequence[int] | None = None,
    min_share: float = 0.01,
    val_every: int = 5,
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
    ids_of = _split_ids(root, list(images), val_every)
    ids = ids_of[split]
    masks = {i: root / "masks" / f"{i}.png" for which in ids_of.values() for i in which}
    source = FileSource({i: images[i] for i in ids}, {i: masks[i] for i in ids})
    require_files(
        f"masks in {root / 'masks'}",
        list(source.masks.values()),
        "every photograph images/NAME.* needs masks/NAME.png; move the others elsewhere",
    )
    require_equal_sizes(source)
    # Of both splits: 255 means the same in both.
    if _only_255(root / "masks", list(masks.values()), len(class_names) > 1):
        source = replace(source, only=_single_class(root / "masks", class_names))
    small_objects = AreaFilter(share=min_share)
    scan = source.scan(class_names, small_objects, None if cache_dir is None else Path(cache_dir))
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


def _only_255(folder: Path, masks: Sequence[Path], several: bool) -> bool:
    """Whether masks hold 255 and none any class number.

    Of several classes, masks with numbers are read up to one. Of a single class all are: a few
    numbers among masks of 0 and 255, such as one soft pixel, must not turn all objects unknown.
    """
    marked = numbered = 0
    for path in masks:
        if path.is_file():  # those of this split are there, the others may not be needed
            mask = read_mask(path)
            if np.any((mask != 0) & (mask != IGNORE)):
                if several:
                    return False
                numbered += 1
            elif np.any(mask == IGNORE):
                marked += 1
    if numbered and marked > numbered:
        raise DataError(
            f"{marked} masks in {folder} hold 0 and 255 alone, and {numbered} also other values,"
            " beside which 255 means not known, in all of them",
            "a soft edge or a trimap? save all masks with 0 and 255 only, or write the class's"
            " number of classes.txt in place of 255 in all of them",
        )
    return marked > 0 and not numbered


def _single_class(masks: Path, class_names: dict[int, str]) -> int:
    if len(class_names) > 1:
        raise DataError(
            f"the masks in {masks} hold nothing but 0 and 255, which says of no pixel which of "
            f"{len(class_names)} classes it is",
            "write the class's number of classes.txt in place of 255, which means not known; only "
            "where there is a single class does 255 stand for it",
        )
    return next(iter(class_names))


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


def _split_ids(root: Path, ids: list[str], val_every: int) -> dict[Split, list[str]]:
    lists: dict[Split, Path] = {"train": root / "train.txt", "val": root / "val.txt"}
    given = [path for path in lists.values() if path.is_file()]
    if len(given) == 1:
        raise DataError(
            f"{root} has {given[0].name} but not the other list", "write train.txt and val.txt"
        )
    if given:
        listed = {name: _read_list(path, ids) for name, path in lists.items()}
        if both := sorted(set(listed["train"]) & set(listed["val"])):
            raise DataError(
                f"{len(both)} images of {root} are in train.txt and in val.txt: {some(both)}",
                "what is evaluated must not be trained on: keep each in one of the lists",
            )
        return listed
    if val_every < 2:
        raise DataError(
            f"val_every is {val_every}, which leaves no image for training",
            "choose 2 or more, or write train.txt and val.txt",
        )
    val = ids[::val_every]
    return {"train": [i for n, i in enumerate(ids) if n % val_every], "val": val}


def _read_list(path: Path, ids: list[str]) -> list[str]:
    """Image ids of a list, with or without suffix; a name may hold spaces."""
    names = [Path(line) for line in read_lines(path)]
    listed = [n.stem if n.suffix.lower() in IMAGE_SUFFIXES else n.name for n in names]
    hint = "write one name per line, as in images/"
    if not listed:
        raise DataError(f"{path} names no image", hint)
    if unknown := sorted(set(listed) - set(ids)):
        raise DataError(
            f"{path} names {len(unknown)} photographs that are not in images/: {some(unknown)}",
            hint,
        )
    return listed


def _label(fold: int | None) -> str:
    return "held out" if fold is None else f"fold {fold}"
