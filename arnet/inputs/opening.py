"""Opens the data of a configuration: what is trained on, what is validated and evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from arnet.config import AugmentConfig, Config, DataConfig
from arnet.data import GROWING, SegmentationDataset, open_dataset
from arnet.data.dataset import Split
from arnet.inputs.features import FeatureCache, ImageInput, InputSource
from arnet.modeling import Backbone
from arnet.runtime.errors import ConfigError

Progress = Callable[[int, int], None]


def open_split(
    config: Config, split: Split, classes: Sequence[int] | None = None
) -> SegmentationDataset:
    """The training or the validation part of the configured data.

    Args:
        config: kind, folder, fold and convention.
        split: "train" or "val".
        classes: ids of the classes to offer; None gives the split's own, base classes to train
            and novel ones to validate.

    Raises:
        ConfigError: no folder is configured.
        DataError: the data are not as their format says.
    """
    data = config.data
    if not data.root:
        raise ConfigError("no data folder is given", "add --data DIR, or set data.root")
    options: dict[str, object] = {}
    if data.held_out:
        options["held_out"] = data.held_out
    if data.members:
        options["members"] = data.members
    if data.kind in ("pascal", "union"):
        options["annotations"] = data.annotations
    if data.kind in ("coco", "union"):
        options["year"] = data.year
    if data.kind in ("folder", "davis") and data.min_share is not None:
        options["min_share"] = data.min_share
    if classes is not None:
        options["classes"] = classes
    cache = Path(data.cache) / "scans" if data.cache else None
    return open_dataset(
        data.kind,
        data.root,
        split,
        data.used_fold,
        data.novel,
        cache_dir=cache,
        **options,
    )


def check_fold(data: DataConfig, fold: int | None) -> None:
    """Check that a fold that a person asks for means something.

    Raises:
        ConfigError: the data do not use it.
    """
    if fold is not None and data.used_fold is None:
        raise ConfigError(
            f"there is no fold {fold}: the classes held out are named by data.held_out",
            "leave --fold out",
        )


def _name(config: Config, dataset: SegmentationDataset) -> str:
    """What tells the cached features of one data set from those of another."""
    data = config.data
    name = f"{data.kind} {Path(data.root).resolve()}"
    name += "".join(f" {m.name} {m.kind} {m.root}" for m in data.members)
    if data.kind in GROWING:  # beside the features lie masks, whose numbers may come to mean others
        name += f" {sorted(dataset.class_names.items())}"
    name += "" if data.annotations == "aug" else f" {data.annotations}"
    return name if data.year == 2014 else f"{name} {data.year}"


def uses_absent(config: Config) -> bool:
    """Whether queries that do not show the class are drawn in any stage of a training."""
    train = config.train
    return any(train.absent if s.absent is None else s.absent for s in train.stages)


def images_to_read(config: Config, dataset: SegmentationDataset, training: bool) -> list[str]:
    """The images of episodes, each once; only a training draws those that show nothing."""
    images = [image_id for image_id, _ in dataset.pairs]
    if training and uses_absent(config) and config.data.kind != "union":
        images += dataset.unmarked
    return list(dict.fromkeys(images))


def open_source(
    config: Config,
    dataset: SegmentationDataset,
    backbone: Backbone,
    training: bool,
    progress: Progress = lambda done, total: None,
    more: Iterable[str] = (),
) -> InputSource:
    """How the images of a data set reach the model: read anew, or from the cache.

    Args:
        config: input size, augmentation and cache.
        dataset: the images.
        backbone: fills the cache.
        training: whether augmented views are wanted beside the plain one, and the images that only
            a training draws.
        progress: told of the images cached and their total.
        more: image ids that are wanted besides.
    """
    data = config.data
    images = ImageInput(dataset, data.image_size, data.augment if training else AugmentConfig())
    if not data.cache:
        return images
    cache = FeatureCache(
        images,
        backbone,
        Path(data.cache),
        name=_name(config, dataset),
        views=data.cache_views if training else 1,
    )
    wanted = [*images_to_read(config, dataset, training), *more]
    cache.fill(list(dict.fromkeys(wanted)), progress)
    return cache
