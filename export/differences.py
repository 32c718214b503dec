"""How far each stage of a bundle is from the model's, given what the model in float32 gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from arnet.export.episodes import RealEpisode, walk
from arnet.export.stages import Stages
from arnet.runtime.segmenter import Segmenter

_FARTHEST = float(np.finfo(np.float32).max)
"""Stands for the difference from what is no number, which JSON cannot hold."""


@dataclass(frozen=True)
class StageDifference:
    """How far one output of a stage is from the model's.

    Attributes:
        largest: difference.
        p99: 99th percentile of the differences, the largest of any episode.
        scale: largest value of the model's output, to compare with.
    """

    stage: str
    tensor: str
    largest: float
    p99: float
    scale: float


def stage_differences(
    stages: Stages, bundle: Segmenter, episode: RealEpisode
) -> list[StageDifference]:
    """Every stage of a bundle beside the model's own, for one episode."""
    engine, interfaces = bundle.engine, bundle.bundle.manifest.stages
    found: list[StageDifference] = []

    def both(stage: str, feeds: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> None:
        types = {tensor.name: tensor.dtype for tensor in interfaces[stage].inputs}
        outputs = engine.run(
            stage,
            {name: engine.upload(feeds[name].numpy().astype(types[name])) for name in feeds},
        )
        for name, expected in reference.items():
            gap = np.abs(engine.download(outputs[name]).astype(np.float64) - expected.numpy())
            gap = np.nan_to_num(gap, nan=_FARTHEST, posinf=_FARTHEST)
            found.append(
                StageDifference(
                    stage, name, _most(gap), float(np.quantile(gap, 0.99)), _most(expected.abs())
                )
            )

    margins = walk(stages, episode, both)["margins"]
    size = torch.tensor(episode.query.shape[:2])
    large = F.interpolate(margins[None], tuple(size.tolist()), mode="bilinear", align_corners=False)
    both("postprocess", {"margins": margins, "size": size}, {"probability": large[0].sigmoid()})
    return found


def worse(first: StageDifference | None, second: StageDifference) -> StageDifference:
    """The larger figures of two episodes, for the same output of a stage."""
    if first is None:
        return second
    return StageDifference(
        second.stage,
        second.tensor,
        max(first.largest, second.largest),
        max(first.p99, second.p99),
        max(first.scale, second.scale),
    )


def _most(values: NDArray[Any] | Tensor) -> float:
    return float(values.max())
