"""The parity gate: does the bundle say what the trained model says, on real episodes?

Every stage is given what the model in float32 gives it, so that its difference is its own; the
whole chain starts from photographs on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from arnet.data.transforms import prepare
from arnet.evaluation.metrics import IoUMeter
from arnet.export.episodes import RealEpisode
from arnet.export.stages import Stages
from arnet.runtime.segmentation import THRESHOLD
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter

_FARTHEST = float(np.finfo(np.float32).max)
"""Stands for the difference from what is no number, which JSON cannot hold."""

STAGE_EPISODES = 3
"""Episodes that the stages are compared on; the chain is compared on all."""


@dataclass(frozen=True)
class Bounds:
    """What a precision may change.

    Attributes:
        probability: largest difference of a probability; None for any.
        changed: fraction of the pixels whose answer is another, over all episodes.
        mean_iou: difference of mIoU, in points, either way.
    """

    probability: float | None
    changed: float
    mean_iou: float


BOUNDS = {
    "fp32": Bounds(1e-4, 1e-4, 0.1),
    "fp32 of fp16 weights": Bounds(None, 5e-3, 0.1),  # folded weights, rounded to be stored
    "tf32": Bounds(None, 5e-3, 0.1),  # products are rounded as in fp16: ten bits of mantissa
    "fp16": Bounds(None, 5e-3, 0.1),
    "bf16": Bounds(None, 2e-2, 1.0),  # seven bits, as coarse as int8
    "int8": Bounds(None, 2e-2, 1.0),
    "fp8": Bounds(None, 2e-2, 1.0),  # three bits, and a range that int8 has not
}


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


@dataclass(frozen=True)
class Parity:
    """What the gate found.

    Attributes:
        precision: whose bounds hold.
        episodes: how many, and ``source`` where they are from.
        stages: one per output of a stage.
        probability_largest: difference of a probability; ``probability_p99`` the largest 99th
            percentile of an episode.
        changed: fraction of pixels whose answer changed, over all episodes; ``changed_most`` of
            one episode.
        mask_iou: mean IoU of the bundle's mask with the model's; ``mask_iou_least`` of one episode.
        mean_iou: mIoU in percent against the truth, of the "model" and the "bundle".
        failures: what is out of bounds, one sentence each.
    """

    precision: str
    source: str
    episodes: int
    bounds: Bounds
    stages: tuple[StageDifference, ...]
    probability_largest: float
    probability_p99: float
    changed: float
    changed_most: float
    mask_iou: float
    mask_iou_least: float
    mean_iou: dict[str, float]
    failures: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether everything is within the bounds."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest and ``parity.json``."""
        values = {**asdict(self), "passed": self.passed}
        return {**values, "stages": [*values["stages"]], "failures": [*self.failures]}


def compare(
    model: TorchSegmenter,
    stages: Stages,
    bundle: Segmenter,
    precision: str,
    episodes: Sequence[RealEpisode],
    source: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parity:
    """Run the gate.

    Args:
        model: the checkpoint as trained.
        stages: the same, factorised, in float32.
        bundle: what is judged.
        precision: of the bundle; it chooses the bounds.
        episodes: what to ask both.
        source: where the episodes are from, for the report.
        progress: told of the episodes done and their total.
    """
    labels = sorted({episode.label for episode in episodes})
    meters = {name: IoUMeter(range(len(labels))) for name in ("model", "bundle")}
    differences: dict[tuple[str, str], StageDifference] = {}
    largest, p99, changed, ious, pixels = 0.0, 0.0, [], [], []
    for done, episode in enumerate(episodes, start=1):
        if done <= STAGE_EPISODES:
            for found in stage_differences(stages, bundle, episode):
                key = (found.stage, found.tensor)
                differences[key] = _worse(differences.get(key), found)
        answers = {
            "model": _probability(model, episode),
            "bundle": _probability(bundle, episode),
        }
        # What is no number is as wrong as can be; every comparison with it would be false.
        is_number = np.isfinite(answers["bundle"])
        gap = np.where(is_number, np.abs(answers["model"] - answers["bundle"]), 1)
        largest, p99 = max(largest, _most(gap)), max(p99, float(np.quantile(gap, 0.99)))
        masks = {name: answer > THRESHOLD for name, answer in answers.items()}
        changed.append(int(((masks["model"] != masks["bundle"]) | ~is_number).sum()))
        pixels.append(gap.size)
        ious.append(_iou(masks["model"], masks["bundle"]))
        for name, mask in masks.items():
            meters[name].update(labels.index(episode.label), mask, episode.truth)
        progress(done, len(episodes))
    parity = Parity(
        precision=precision,
        source=source,
        episodes=len(episodes),
        bounds=BOUNDS[precision],
        stages=tuple(differences.values()),
        probability_largest=largest,
        probability_p99=p99,
        changed=sum(changed) / sum(pixels),
        changed_most=max(c / p for c, p in zip(changed, pixels, strict=True)),
        mask_iou=float(np.mean(ious)),
        mask_iou_least=min(ious),
        mean_iou={name: meter.mean_iou() for name, meter in meters.items()},
    )
    return Parity(**{**vars(parity), "failures": tuple(_failures(parity))})


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

    def run(stage: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            results = stages.modules[stage](*(feeds[name] for name in stages.inputs(stage)))
        results = results if isinstance(results, tuple) else (results,)
        outputs = dict(zip(stages.outputs(stage), results, strict=True))
        both(stage, {name: feeds[name] for name in stages.inputs(stage)}, outputs)
        return outputs

    def pixels(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        prepared, label = prepare(image, mask, stages.size)
        both("preprocess", {"image": torch.from_numpy(image)}, {"pixels": prepared[None]})
        return prepared[None], (label == 1).float()[None]

    shots: dict[str, list[Tensor]] = {}
    for image, mask in zip(episode.images, episode.masks, strict=True):
        prepared, guide = pixels(image, mask)
        features = run("encode_image", {"pixels": prepared})
        for name, value in run("encode_support", {**features, "mask": guide}).items():
            shots.setdefault(name, []).append(value)
    given = {name: torch.cat(values) for name, values in shots.items()}
    if "fuse_support" in stages.modules:
        given.update(run("fuse_support", {"prototypes": given["prototype"]}))
    prepared, _ = pixels(episode.query, episode.truth)
    given.update(run("encode_query", run("encode_image", {"pixels": prepared})))
    count = len(episode.images)
    given["shares"] = torch.full((1, count), 1 / count)
    margins = run("decode", given)["margins"]
    size = torch.tensor(episode.query.shape[:2])
    large = F.interpolate(margins[None], tuple(size.tolist()), mode="bilinear", align_corners=False)
    both("postprocess", {"margins": margins, "size": size}, {"probability": large[0].sigmoid()})
    return found


def _probability(
    segmenter: TorchSegmenter | Segmenter, episode: RealEpisode
) -> NDArray[np.float32]:
    state: Any = segmenter.learn(episode.images, episode.masks)
    return (
        segmenter.segment(episode.query, {episode.label: state}).classes[episode.label].probability
    )


def _worse(first: StageDifference | None, second: StageDifference) -> StageDifference:
    if first is None:
        return second
    return StageDifference(
        second.stage,
        second.tensor,
        max(first.largest, second.largest),
        max(first.p99, second.p99),
        max(first.scale, second.scale),
    )


def _failures(parity: Parity) -> list[str]:
    bounds, failures = parity.bounds, []
    if bounds.probability is not None and not parity.probability_largest <= bounds.probability:
        failures.append(
            f"a probability differs by {parity.probability_largest:.2g}, "
            f"at most {bounds.probability:g} is allowed"
        )
    if not parity.changed <= bounds.changed:
        failures.append(
            f"{100 * parity.changed:.3g} % of the pixels changed, "
            f"at most {100 * bounds.changed:g} % may"
        )
    gap = parity.mean_iou["bundle"] - parity.mean_iou["model"]
    if not abs(gap) <= bounds.mean_iou:
        failures.append(
            f"mIoU changes by {gap:+.2f} points, at most {bounds.mean_iou:g} is allowed"
        )
    return failures


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0


def _most(values: NDArray[Any] | Tensor) -> float:
    return float(values.max())
