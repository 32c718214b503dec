"""PASCAL-5i: VOC 2012 with or without the annotations of SBD, its 20 classes in four folds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from arnet.data.dataset import (
    Novel,
    SegmentationDataset,
    Split,
    build_dataset,
    check_fold,
    check_split,
)
from arnet.data.files import FileSource, read_lines, require_files, require_folder
from arnet.data.scan import GridFilter
from arnet.runtime.errors import DataError, MissingDependencyError, install
from arnet.runtime.images import image_size

CLASS_NAMES: dict[int, str] = {
    1: "aeroplane",
    2: "bicycle",
    3: "bird",
    4: "boat",
    5: "bottle",
    6: "bus",
    7: "car",
    8: "cat",
    9: "chair",
    10: "cow",
    11: "diningtable",
    12: "dog",
    13: "horse",
    14: "motorbike",
    15: "person",
    16: "pottedplant",
    17: "sheep",
    18: "sofa",
    19: "train",
    20: "tvmonitor",
}
"""Name of each VOC class id, 1..20."""

FOLDS = 4

_FOLDERS = {"aug": "SegmentationClassAug", "voc": "SegmentationClass"}
_LISTS = {("aug", "train"): "trainaug", ("voc", "train"): "train"}


def fold_classes(fold: int) -> tuple[int, ...]:
    """The five novel class ids of a fold: 5 * fold + 1 to 5 * fold + 5.

    Args:
        fold: 0..3; the paper's splits 1..4.

    Raises:
        DataError: there is no such fold.
    """
    check_fold(fold, FOLDS)
    return tuple(range(5 * fold + 1, 5 * fold + 6))


def pascal(
    root: str | Path,
    split: Split = "train",
    fold: int | None = None,
    novel: Novel = "background",
    *,
    classes: Sequence[int] | None = None,
    annotations: Literal["aug", "voc"] = "aug",
    long_side: int | None = None,
    cache_dir: str | Path | None = None,
) -> SegmentationDataset:
    """Opens PASCAL-5i.

    A pair (image, class) counts when the class passes the small-object filter of OSLSM
    (:class:`~arnet.data.scan.GridFilter`), in training as in evaluation, as in the field's lists.

    Args:
        root: the folder that holds ``VOCdevkit/VOC2012``, or that folder itself.
        split: ``"train"`` reads the training list and offers the base classes; ``"val"`` reads
            ``val.txt`` and offers the novel ones.
        fold: 0..3; None holds no class out.
        novel: what becomes of training images with novel classes, ``"background"`` or ``"drop"``;
            see :func:`~arnet.data.dataset.build_dataset`.
        classes: class ids to offer in place of those of the split.
        annotations: ``"aug"`` reads ``SegmentationClassAug`` and trains on ``trainaug.txt``;
            ``"voc"`` reads ``SegmentationClass`` and trains on ``train.txt``.
        long_side: what the long side of the photographs was shrunk to, in pixels, for the
            small-object filter. None takes the longest side among the masks of the list, which is
            500 in the original data.
        cache_dir: folder where the scan of the masks is kept; None scans every time.

    Raises:
        DataError: the folders, a list or files of the list are missing, or there is no such fold.
        ImageError: a mask cannot be read.
    """
    check_split(split)
    if annotations not in _FOLDERS:
        raise DataError(
            f'PASCAL has no annotations "{annotations}"', 'choose "aug" (with SBD) or "voc"'
        )
    voc = find_voc(Path(root))
    list_name = _LISTS.get((annotations, split), split)
    ids = _read_list(voc, list_name)
    source = FileSource(
        images={i: voc / "JPEGImages" / f"{i}.jpg" for i in ids},
        masks={i: voc / _FOLDERS[annotations] / f"{i}.png" for i in ids},
    )
    hint = f"complete the folder, or take these images out of {list_name}.txt"
    require_files(f"photographs of {list_name}.txt", list(source.images.values()), hint)
    require_files(f"masks of {list_name}.txt", list(source.masks.values()), hint)
    if long_side is None:
        long_side = max(max(image_size(path)) for path in source.masks.values())
    small_objects = GridFilter(shrunk=long_side)
    scan = source.scan(CLASS_NAMES, small_objects, None if cache_dir is None else Path(cache_dir))
    return build_dataset(
        f"pascal {'all classes' if fold is None else f'fold {fold}'} {split}",
        CLASS_NAMES,
        ids,
        source,
        scan,
        split=split,
        novel_classes=() if fold is None else fold_classes(fold),
        novel=novel,
        classes=classes,
    )


def find_voc(root: Path) -> Path:
    """The folder ``VOC2012`` at or below ``root``.

    Raises:
        DataError: there is none.
    """
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder
    if (root / "images").is_dir() and (root / "masks").is_dir():
        raise DataError(
            f"{root} holds no PASCAL VOC 2012, but images/ and masks/: a plain folder",
            "say so: arnet eval with --kind folder, arnet train with data.kind=folder, or with "
            "--init arnet-r50 and without --config, which fine-tunes on a plain folder",
        )
    require_folder(root)
    raise DataError(
        f"{root} holds no PASCAL VOC 2012: no folder VOCdevkit/VOC2012/JPEGImages",
        "give the folder that holds VOCdevkit, or make it with arnet.data.pascal.prepare_pascal",
    )


def _read_list(voc: Path, name: str) -> list[str]:
    path = voc / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not path.is_file():
        raise DataError(
            f"{path} is missing",
            "run arnet.data.pascal.prepare_pascal, which writes trainaug.txt, "
            "or add data.annotations=voc",
        )
    ids = read_lines(path)
    if not ids:
        raise DataError(f"{path} names no image", "write one image id per line")
    return ids


def prepare_pascal(root: str | Path) -> Path:
    """Downloads VOC 2012 and SBD (about 3.5 GB) and merges their annotations.

    What is there already is not downloaded again.

    Args:
        root: folder to download to; made when absent.

    Returns:
        The folder ``VOCdevkit/VOC2012``, ready for :func:`pascal`.

    Raises:
        MissingDependencyError: torchvision or scipy is not installed.
        DataError: the download lacks a part.
    """
    try:
        from torchvision.datasets import SBDataset, VOCSegmentation
    except ImportError as error:
        raise MissingDependencyError("torchvision is not installed", install("train")) from error
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    voc, sbd = root / "VOCdevkit" / "VOC2012", root / "sbd"
    if not (voc / "JPEGImages").is_dir():
        VOCSegmentation(str(root), year="2012", image_set="train", download=True)
    if not (sbd / "cls").is_dir():
        SBDataset(str(sbd), image_set="train", mode="segmentation", download=True)
    merge_sbd(voc, sbd)
    return voc


def merge_sbd(voc: Path, sbd: Path) -> None:
    """Writes ``SegmentationClassAug`` and ``trainaug.txt`` into a VOC 2012 folder.

    Images that VOC annotates keep its mask, which is the finer one and has the void border; SBD
    gives the others. ``trainaug.txt`` names the images of VOC train and of SBD, those of VOC val
    left out (10,582 in the complete data).

    Args:
        voc: folder ``VOC2012``.
        sbd: folder of SBD with ``cls/*.mat``, ``train.txt`` and ``val.txt``.

    Raises:
        MissingDependencyError: scipy is not installed.
        DataError: a list or a file of a list is missing.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError("scipy is not installed", install("train")) from error
    train, val = (_read_list(voc, name) for name in ("train", "val"))
    lists = [sbd / "train.txt", sbd / "val.txt"]
    hint = f"delete {sbd} and run prepare_pascal again"
    require_files("lists of SBD", lists, hint)
    added = {i for path in lists for i in read_lines(path)}
    added -= {*train, *val}
    masks = {i: voc / "SegmentationClass" / f"{i}.png" for i in (*train, *val)}
    require_files(
        "masks of VOC", list(masks.values()), f"delete {voc} and run prepare_pascal again"
    )
    matrices = {i: sbd / "cls" / f"{i}.mat" for i in sorted(added)}
    require_files("annotations of SBD", list(matrices.values()), hint)
    target = voc / "SegmentationClassAug"
    target.mkdir(exist_ok=True)
    for path in masks.values():
        shutil.copyfile(path, target / path.name)
    for image_id, path in matrices.items():
        mask = loadmat(str(path))["GTcls"]["Segmentation"][0, 0].astype(np.uint8)
        Image.fromarray(mask).save(target / f"{image_id}.png")
    lines = "\n".join(sorted({*train, *added}))
    (voc / "ImageSets" / "Segmentation" / "trainaug.txt").write_text(lines + "\n", encoding="utf-8")
