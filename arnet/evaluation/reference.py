"""The paper's figures, to be printed beside ours."""

from __future__ import annotations

from arnet.config import BackboneConfig, ModelConfig

PAPER_MEAN_IOU = {("pascal", 1): 56.5, ("pascal", 5): 59.8}
"""ARNet (Shi et al., ICME 2021): mIoU on PASCAL-5i, mean of its four splits, by shots, with masks
(abstract of the paper). Its COCO figures follow a split whose class lists are not public, so none
stands here."""

OFFICIAL_VAL_PAIRS = {"pascal": {0: 346, 1: 451, 2: 725, 3: 346}}
"""(image, class) pairs of the benchmark's validation list, by fold."""


def is_of_paper(model: ModelConfig) -> bool:
    """Whether a model is the paper's, as far as it is known: the defaults of the configuration.

    An ablation is another, and so is one with a prior or another backbone. Where a bottleneck has
    its stride hangs on the ImageNet weights that are at hand.
    """
    stride_in_1x1 = model.backbone.stride_in_1x1
    return model == ModelConfig(backbone=BackboneConfig(stride_in_1x1=stride_in_1x1))


def completeness(kind: str, fold: int | None, pairs: int) -> str | None:
    """Say plainly when data are not the full benchmark; None when they are.

    Args:
        kind: kind of the data set.
        fold: the held-out fold.
        pairs: the (image, class) pairs that are here.
    """
    official = OFFICIAL_VAL_PAIRS.get(kind, {}).get(-1 if fold is None else fold)
    if official is None:
        return "not a benchmark of the paper: no figure of the paper compares with this one"
    if pairs < official:
        return (
            f"a part of the benchmark: {pairs} of the {official} official pairs of fold {fold} "
            "are here, so this figure does not compare with published ones"
        )
    return None
