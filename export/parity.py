"""The parity gate: does the bundle say what the trained model says, on real episodes?

Every stage is given what the model in float32 gives it, so that its difference is its own; the
whole chain starts from photographs on both sides: for one class in every episode, and for two at
once where the bundle decodes them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.evaluation.metrics import IoUMeter
from arnet.export.differences import StageDifference, stage_differences, worse
from arnet.export.episodes import RealEpisode
from arnet.export.stages import Stages
from arnet.export.together import changed_labels, takes_two
from arnet.runtime.segmentation import THRESHOLD, ClassMasks
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter

STAGE_EPISODES = 3
"""Episodes that the stages are compared on; the chain is compared on all."""


@dataclass(frozen=True)
class Bounds:
    """What a precision may change.

    Attributes:
        probability: largest difference of a probability, be it of q1, s or q2; None for any.
        changed: fraction of the pixels whose answer is another, over all episodes.
        mean_iou: difference of mIoU, in points, either way.
    """

    probability: float | None
    changed: float
    mean_iou: float

    @property
    def together(self) -> float:
        """``changed`` with two classes at once: where either mask may have changed."""
        return 2 * self.changed


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
class Parity:
    """What the gate found.

    Attributes:
        precision: whose bounds hold.
        episodes: how many, and ``source`` where they are from.
        stages: one per output of a stage.
        probability_largest: difference of a probability of q2; ``probability_p99`` the largest
            99th percentile of an episode.
        changed: fraction of pixels whose answer changed, over all episodes; ``changed_most`` of
            one episode.
        mask_iou: mean IoU of the bundle's mask with the model's; ``mask_iou_least`` of one episode.
        mean_iou: mIoU in percent against the truth, of the "model" and the "bundle".
        failures: what is out of bounds, one sentence each.
        others_largest: difference of a probability of "q1" and "s", of those that the model has.
        together: fraction of the pixels whose label changed, with two classes at once; None where
            the bundle does not decode them together.
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
    # What the reports of older bundles do not have.
    others_largest: dict[str, float] = field(default_factory=dict)
    together: float | None = None

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
    others: dict[str, float] = {}
    largest, p99, changed, ious, pixels = 0.0, 0.0, [], [], []
    for done, episode in enumerate(episodes, start=1):
        if done <= STAGE_EPISODES:
            for found in stage_differences(stages, bundle, episode):
                key = (found.stage, found.tensor)
                differences[key] = worse(differences.get(key), found)
        answers = {"model": _answer(model, episode), "bundle": _answer(bundle, episode)}
        gaps = dict(_gaps(answers["model"], answers["bundle"]))
        gap = gaps.pop("q2")
        largest, p99 = max(largest, float(gap.max())), max(p99, float(np.quantile(gap, 0.99)))
        for name, other in gaps.items():
            others[name] = max(others.get(name, 0.0), float(other.max()))
        masks = {name: answer.probability > THRESHOLD for name, answer in answers.items()}
        is_number = np.isfinite(answers["bundle"].probability)
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
        others_largest=others,
        together=(
            changed_labels(model, bundle, episodes) if takes_two(bundle.bundle.manifest) else None
        ),
    )
    return Parity(**{**vars(parity), "failures": tuple(_failures(parity))})


def _answer(segmenter: TorchSegmenter | Segmenter, episode: RealEpisode) -> ClassMasks:
    state: Any = segmenter.learn(episode.images, episode.masks)
    return segmenter.segment(episode.query, {episode.label: state}).classes[episode.label]


def _gaps(model: ClassMasks, bundle: ClassMasks) -> Iterator[tuple[str, NDArray[Any]]]:
    """How far the probabilities of q1, s and q2 are from the model's, of those that there are."""
    for name, expected, found in (
        ("q1", model.first, bundle.first),
        ("s", model.supports, bundle.supports),
        ("q2", model.probability, bundle.probability),
    ):
        if expected is not None and found is not None:
            # What is no number is as wrong as can be; every comparison with it would be false.
            yield name, np.where(np.isfinite(found), np.abs(expected - found), 1)


def _failures(parity: Parity) -> list[str]:
    bounds, failures = parity.bounds, []
    of_masks = {"": parity.probability_largest}
    of_masks |= {f" of {name}": largest for name, largest in parity.others_largest.items()}
    for name, largest in of_masks.items():
        if bounds.probability is not None and not largest <= bounds.probability:
            failures.append(
                f"a probability{name} differs by {largest:.2g}, "
                f"at most {bounds.probability:g} is allowed"
            )
    if not parity.changed <= bounds.changed:
        failures.append(
            f"{100 * parity.changed:.3g} % of the pixels changed, "
            f"at most {100 * bounds.changed:g} % may"
        )
    if parity.together is not None and not parity.together <= bounds.together:
        failures.append(
            f"{100 * parity.together:.3g} % of the pixels changed with two classes at once, "
            f"at most {100 * bounds.together:g} % may"
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
