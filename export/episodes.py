"""Real episodes for the parity gate and for calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arnet.checkpoint import Checkpoint
from arnet.data.episodes import EvaluationEpisodes
from arnet.data.transforms import binary_mask, prepare
from arnet.evaluation.data import data_config
from arnet.export.stages import Stages
from arnet.inputs import open_split
from arnet.runtime.errors import AnnotationError, DataError
from arnet.runtime.inference import ALL, read_classes

MOST_SHOTS = 5

Seen = Callable[[str, Mapping[str, Tensor], Mapping[str, Tensor]], None]
"""Told of a stage that ran: its name, its inputs and its outputs."""


@dataclass(frozen=True)
class RealEpisode:
    """Supports of a class, and a photograph to find it in.

    Attributes:
        name: of the query, for a report.
        label: name of the class.
        images: k photographs, uint8 RGB (H, W, 3).
        masks: the object in each, (H, W): 0, 1, or 255 for unknown.
        query: uint8 RGB (H, W, 3).
        truth: the object in the query, as the masks.
    """

    name: str
    label: str
    images: tuple[NDArray[np.uint8], ...]
    masks: tuple[NDArray[np.uint8], ...]
    query: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def from_folders(
    folders: Sequence[Path], shots: int | None = None, most: int = MOST_SHOTS
) -> list[RealEpisode]:
    """Every photograph of annotated folders in turn as the query of the others of its class.

    Args:
        folders: each as ``arnet infer --support`` takes it; a class without a name is called like
            its folder.
        shots: number of supports; None for the others.
        most: of them, where ``shots`` does not say how many.

    Raises:
        AnnotationError: a folder cannot be read, or no class has photographs enough.
    """
    episodes = []
    for folder in folders:
        for label, supports in read_classes(folder, [ALL], "as-is").items():
            for index, query in enumerate(supports):
                others = [*supports[index + 1 :], *supports[:index]][: shots or most]
                if not others or (shots and len(others) < shots):
                    continue
                episodes.append(
                    RealEpisode(
                        query.path.name,
                        label,
                        tuple(support.image for support in others),
                        tuple(support.mask for support in others),
                        query.image,
                        query.mask,
                    )
                )
    if not episodes:
        places = ", ".join(str(folder) for folder in folders)
        raise AnnotationError(
            f"{places}: no class has {(shots or 1) + 1} annotated photographs, one of which is "
            "the query of the others",
            "give a folder with more of them, or a data set: --data DIR",
        )
    return episodes


def from_dataset(
    checkpoint: Checkpoint, root: Path, count: int, shots: int = MOST_SHOTS, seed: int = 0
) -> list[RealEpisode]:
    """Episodes of the data set the checkpoint was trained on: of its held-out classes, or of all.

    Raises:
        DataError: the data are not as their format says, or no class has images enough.
    """
    dataset = open_split(data_config(checkpoint, root=str(root)), "val")
    classes = dataset.classes_with(shots + 1)
    if not classes:
        raise DataError(
            f"no class of {dataset.name} has the {shots + 1} images that {shots} shots need",
            "give annotated photographs instead: --support DIR",
        )
    drawn = EvaluationEpisodes(dataset, classes, shots, count, seed, order="random")
    return [
        RealEpisode(
            episode.query,
            dataset.class_names[episode.class_id],
            tuple(dataset.image(name) for name in episode.supports),
            tuple(binary_mask(dataset.mask(name), episode.class_id) for name in episode.supports),
            dataset.image(episode.query),
            binary_mask(dataset.mask(episode.query), episode.class_id),
        )
        for episode in drawn
    ]


@torch.inference_mode()
def walk(stages: Stages, episode: RealEpisode, seen: Seen) -> dict[str, Tensor]:
    """Take an episode through all stages; what ``decode`` gives.

    Args:
        stages: in float32.
        episode: of one class.
        seen: told of every stage, and of "preprocess", which is none of ``stages``.
    """

    def pixels(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        prepared, label = prepare(image, mask, stages.size)
        seen("preprocess", {"image": torch.from_numpy(image)}, {"pixels": prepared[None]})
        return prepared[None], (label == 1).float()[None]

    def run(stage: str, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = stages.run(stage, given)
        seen(stage, {name: given[name] for name in stages.inputs(stage)}, outputs)
        return outputs

    shots = []
    for image, mask in zip(episode.images, episode.masks, strict=True):
        prepared, guide = pixels(image, mask)
        features = run("encode_image", {"pixels": prepared})
        shots.append(run("encode_support", {**features, "mask": guide}))
    given = {name: torch.cat([shot[name] for shot in shots]) for name in shots[0]}
    if "fuse_support" in stages.modules:
        given |= run("fuse_support", {"prototypes": given["prototype"]})
    prepared, _ = pixels(episode.query, episode.truth)
    given |= run("encode_query", run("encode_image", {"pixels": prepared}))
    given["shares"] = torch.full((1, len(shots)), 1 / len(shots))
    return run("decode", given)
