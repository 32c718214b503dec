"""Which annotation belongs to which photograph of a support folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from arnet.runtime.annotations import (
    CocoFile,
    LabelNames,
    is_coco,
    parse_json,
    parse_voc,
    parse_yolo,
    read_class_list,
    read_json,
    read_label_names,
)
from arnet.runtime.annotations.labelled import Labelled, from_mask, from_shapes
from arnet.runtime.errors import AnnotationError, SizeMismatchError
from arnet.runtime.finding import images_in
from arnet.runtime.images import image_size, is_turned

MASK_NAMES = ("{}.png", "{}_mask.png", "{}.mask.png")
ACCEPTED = (
    "Accepted for a.jpg: a mask a.png, a_mask.png or a.mask.png (or images/a.jpg with masks/a.png);"
    " a.json (labelme, SAM, prompt list); a.xml (Pascal VOC); JPEGImages/a.jpg with"
    " SegmentationClass/a.png; one COCO .json in the folder; a.txt or labels/a.txt (YOLO)."
)

_TURNED = (
    "The picture is turned by its EXIF orientation and the annotation is not: save the picture"
    " upright (or annotate it upright)."
)

IMAGE_FOLDERS = ("images", "JPEGImages", "obj_train_data")
INDEX_MASKS = ("SegmentationClass", "SegmentationClassPNG")
"""Folders beside ``JPEGImages/``; the second is labelme2voc's, whose first holds arrays."""

_KNOWN_FOLDERS = frozenset(
    name.lower()
    for name in (
        *IMAGE_FOLDERS,
        "masks",
        "labels",
        *INDEX_MASKS,
        "SegmentationObject",
        "Annotations",
        "ImageSets",
        "__MACOSX",
    )
)


class SupportFolder:
    """A folder of photographs with their annotations.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[Path, dict[str, Path]] = {}

    @staticmethod
    def class_folders(folder: Path) -> list[Path]:
        """Return the sub-folders if they are the classes; none if the folder is one class."""
        if images_in(folder):
            return []
        sub_folders = _folders_in(folder)
        return [] if any(p.name.lower() in _KNOWN_FOLDERS for p in sub_folders) else sub_folders

    def annotations(self) -> list[Labelled]:
        """Read the annotations of every photograph, sorted by path, then label.

        Raises:
            AnnotationError: if there are no photographs, or one has no usable annotation.
            ImageError: if a photograph or mask cannot be read.
        """
        pictures = self._pictures()
        if not pictures:
            raise AnnotationError(f"{self.folder} holds no photographs.", ACCEPTED)
        found: list[Labelled] = []
        for picture in pictures:
            try:
                found += self._annotations_of(picture)
            except SizeMismatchError as error:
                if error.swapped and is_turned(picture):
                    raise AnnotationError(error.message, _TURNED) from error
                raise
        # A mask of 0 and 1 alone needs no label; beside masks with higher values, 1 is one of them.
        if any(item.number and item.label != "1" for item in found):
            return [replace(item, number=False) for item in found]
        return [replace(item, label=None, number=False) if item.number else item for item in found]

    def _pictures(self) -> list[Path]:
        folders = [self.folder]
        for folder in self._folders(*IMAGE_FOLDERS):
            folders += [folder] if images_in(folder) else _folders_in(folder)
        return [path for folder in folders for path in _without_masks(images_in(folder))]

    def _folders(self, *names: str) -> list[Path]:
        """The sub-folders of these names, in their order, however they are capitalised."""
        found = self._sub_folders
        return [path for name in names for path in found if path.name.lower() == name.lower()]

    @cached_property
    def _sub_folders(self) -> list[Path]:
        return _folders_in(self.folder)

    def _beside(self, picture: Path, *names: str) -> list[Path]:
        """As ``_folders``; of a photograph ``images/train/a.jpg`` their sub-folders ``train/``."""
        folders = self._folders(*names)
        return [sub if (sub := f / picture.parent.name).is_dir() else f for f in folders]

    def _annotations_of(self, picture: Path) -> Iterator[Labelled]:
        size = image_size(picture)
        for path in self._candidates(picture):
            if path.suffix.lower() == ".png":
                yield from from_mask(path, picture, size, self._label_names, self.folder)
            elif path.suffix.lower() == ".json":
                form, annotations = parse_json(path, picture, size)
                yield from from_shapes(annotations, path, picture, form)
            else:
                yield from from_shapes(parse_voc(path, size), path, picture, "Pascal VOC")
            return
        coco = self._coco_of(picture)
        if coco is None:
            yield from self._from_text(picture, size)
            return
        annotations = coco.annotations(picture, size)
        if not annotations:
            raise AnnotationError(
                f"{picture} has no annotation: {coco.path} has no objects for it.",
                "Annotate it or take it out of the folder. " + ACCEPTED,
            )
        yield from from_shapes(annotations, coco.path, picture, "COCO")

    def _from_text(self, picture: Path, size: tuple[int, int]) -> Iterator[Labelled]:
        """The last resort: beside other annotations, ``a.txt`` may say anything of ``a.jpg``."""
        for place in (picture.parent, *self._beside(picture, "labels")):
            if path := self._files(place).get(f"{picture.stem}.txt"):
                annotations = parse_yolo(path, self._class_list, size)
                yield from from_shapes(annotations, path, picture, "YOLO")
                return
        raise AnnotationError(f"{picture} has no annotation.", ACCEPTED)

    def _candidates(self, picture: Path) -> Iterator[Path]:
        """Yield the annotation files that exist for a photograph, the first to win first."""
        beside, stem = [picture.parent], picture.stem
        masks = [name.format(stem) for name in MASK_NAMES]
        for places, names in (
            (beside, masks),
            (self._beside(picture, "masks"), masks),
            (beside, [f"{stem}.json", f"{stem}.xml"]),
            (self._beside(picture, *INDEX_MASKS), [f"{stem}.png"]),
            (self._beside(picture, "Annotations"), [f"{stem}.xml"]),
        ):
            for files in map(self._files, places):
                yield from (files[name] for name in names if files.get(name, picture) != picture)

    def _files(self, folder: Path) -> dict[str, Path]:
        """Return the files of a folder by name, the suffix in lower case."""
        if folder not in self._listings:
            files = sorted(folder.iterdir())
            self._listings[folder] = {_key(path): path for path in files if path.is_file()}
        return self._listings[folder]

    @cached_property
    def _label_names(self) -> LabelNames:
        for name in ("labelmap.txt", "classes.txt", "class_names.txt"):
            if (self.folder / name).is_file():
                return read_label_names(self.folder / name)
        return LabelNames()

    @cached_property
    def _class_list(self) -> list[str]:
        """The names of YOLO's classes; none if they are not known."""
        for place in (self.folder, *self._folders("labels", *IMAGE_FOLDERS)):
            for name in ("classes.txt", "obj.names"):
                if (place / name).is_file():
                    return read_class_list(place / name)
        return []

    def _coco_of(self, picture: Path) -> CocoFile | None:
        """The COCO file for a photograph, None if there is none.

        That of ``images/train/a.jpg`` is ``instances_train.json``, as CVAT and COCO itself call it.
        """
        files = self._coco_files
        of_subset = [f for f in files if f.path.stem == f"instances_{picture.parent.name}"]
        found = of_subset or files
        if len(found) > 1:
            raise AnnotationError(
                f"{self.folder} has several COCO files: {', '.join(f.path.name for f in found)}.",
                "Leave the one that is meant.",
            )
        return found[0] if found else None

    @cached_property
    def _coco_files(self) -> list[CocoFile]:
        places = [self.folder, *self._folders("annotations", *IMAGE_FOLDERS)]
        files = sorted({path for place in places for path in place.glob("[!.]*.json")})
        found = ((path, read_json(path)) for path in files)
        return [CocoFile.parse(data, path) for path, data in found if is_coco(data)]


def _folders_in(folder: Path) -> list[Path]:
    """The sub-folders, sorted, but for hidden ones."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )


def _key(path: Path) -> str:
    return path.stem + path.suffix.lower()


def _without_masks(pictures: list[Path]) -> list[Path]:
    """Leave out what is the mask of another picture in the same folder."""
    masks = {
        mask.format(path.stem)
        for path in pictures
        for mask in MASK_NAMES
        if mask.format(path.stem) != _key(path)  # a.png is the mask of a.jpg, not of itself
    }
    return [path for path in pictures if _key(path) not in masks]
