"""``MODEL_CARD.md`` and ``parity.json`` of a bundle: measured figures only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from arnet.checkpoint import Checkpoint
from arnet.export.parity import Parity
from arnet.runtime.bundle import Manifest


def to_json(values: Mapping[str, Any]) -> bytes:
    """Indented UTF-8."""
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def model_card(checkpoint: Checkpoint, manifest: Manifest, parity: Parity) -> str:
    """What the bundle is, how it was made, and how near to the model it is."""
    config = checkpoint.config
    bounds = parity.bounds
    allowed = "-" if bounds.probability is None else f"{bounds.probability:g}"
    together = "-" if parity.together is None else f"{100 * parity.together:.4f} %"
    rows = [
        ("largest difference of a probability", f"{parity.probability_largest:.2g}", allowed),
        *(
            (f"the same of {name}", f"{largest:.2g}", allowed)
            for name, largest in parity.others_largest.items()
        ),
        ("99th percentile, worst episode", f"{parity.probability_p99:.2g}", "-"),
        ("changed pixels", f"{100 * parity.changed:.4f} %", f"{100 * bounds.changed:g} %"),
        ("changed pixels, worst episode", f"{100 * parity.changed_most:.4f} %", "-"),
        ("changed pixels, two classes at once", together, f"{100 * bounds.together:g} %"),
        ("IoU of the masks, mean and least",
         f"{parity.mask_iou:.5f}, {parity.mask_iou_least:.5f}", "-"),
        ("mIoU of the model and the bundle",
         f"{parity.mean_iou['model']:.2f}, {parity.mean_iou['bundle']:.2f}",
         f"± {bounds.mean_iou:g}"),
    ]  # fmt: skip
    stages = [
        f"| {item.stage} | {item.tensor} | {item.largest:.2g} | {item.p99:.2g} | {item.scale:.3g} |"
        for item in parity.stages
    ]
    trained = checkpoint.info.get("trained_classes")
    classes = ", ".join(map(str, trained)) if isinstance(trained, list) else "see the checkpoint"
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            "A few-shot segmenter (ARNet) as ONNX graphs: it runs without torch.",
            "",
            "```",
            "arnet infer --bundle BUNDLE --support DIR --query IMAGE",
            "```",
            "",
            "BUNDLE is the folder that this file is in, or the zip.",
            "",
            "| | |",
            "|---|---|",
            f"| made by | {manifest.producer} from {manifest.checkpoint.name} "
            f"(sha256 {manifest.checkpoint.sha256}) |",
            f"| backbone | {config.model.backbone.name}, output stride "
            f"{config.model.backbone.output_stride} |",
            f"| image | {manifest.image_size} x {manifest.image_size}, features "
            f"{manifest.feature_size[0]} x {manifest.feature_size[1]} |",
            f"| precision | {manifest.precision.requested}, weights stored in "
            f"{manifest.precision.weights} |",
            f"| shots | {manifest.shots or 'any number'} |",
            *(
                f"| plans | {plans.precision}, TensorRT {plans.tensorrt}, built on {plans.gpu} "
                f"(sm_{plans.capability[0]}{plans.capability[1]}), {plans.shots[0]} to "
                f"{plans.shots[2]} shots, {plans.classes[0]} to {plans.classes[2]} classes |"
                for plans in manifest.plans
            ),
            f"| trained on | {classes} |",
            "",
            "## Parity with the model it was made from",
            "",
            f"{parity.episodes} episodes of {parity.source}: "
            + ("within the bounds." if parity.passed else "OUT OF BOUNDS."),
            "",
            "| | found | allowed |",
            "|---|---|---|",
            *(f"| {name} | {found} | {allowed} |" for name, found, allowed in rows),
            "",
            "Each stage, given what the model in float32 gives it:",
            "",
            "| stage | tensor | largest difference | 99th percentile | largest value |",
            "|---|---|---|---|---|",
            *stages,
            "",
        ]
    )
