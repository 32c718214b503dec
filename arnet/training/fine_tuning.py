"""How a trained model is trained further on a person's own photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arnet.config import AugmentConfig, Config, DataConfig, StageConfig, TrainConfig
from arnet.data import SegmentationDataset

STAGE = StageConfig(iterations=200, shots=(1, 3), learning_rate=1e-4)
"""Short and gentle: what is not in the person's photographs shall not be forgotten."""


def fine_tuning(trained: Config, out: Path) -> Config:
    """The configuration that continues a training on a plain folder of photographs.

    The model stays what it is, so that its weights fit. The backbone is frozen: its features of
    the photographs are kept in the run's folder.

    Args:
        trained: of the checkpoint.
        out: folder of the run.
    """
    data = DataConfig(
        kind="folder",
        fold=None,
        image_size=trained.data.image_size,
        augment=replace(AugmentConfig(), scale_range=(0.75, 1.5)),
        cache=str(out / "cache"),
        cache_views=4,
    )
    train = TrainConfig(
        backbone_weights="random",  # those of the checkpoint take their place
        stages=(STAGE,),
        optimizer="adamw",
        weight_decay=0.01,
        warmup=20,
        clip=1.0,
        weak_guides=0.2,
        save_every=100,
        validate_every=0,
        store=trained.train.store,
    )
    return Config(model=trained.model, data=data, train=train)


def with_shots_for(config: Config, dataset: SegmentationDataset) -> Config:
    """The configuration of :func:`fine_tuning` with as few shots as the smallest class needs.

    Args:
        config: of any training; its stages are replaced.
        dataset: the photographs to train on. A class with a single one is not counted: no shots
            are few enough for it.
    """
    fewest = min((n for n in map(len, dataset.by_class.values()) if n > 1), default=2)
    stage = replace(STAGE, shots=(1, min(STAGE.shots[1], fewest - 1)))
    return replace(config, train=replace(config.train, stages=(stage,)))
