"""What the tables of docs/results.md compare: variants of ``configs/ablation``, and on what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from arnet.data.pascal import CLASS_NAMES

FULL = "full"


@dataclass(frozen=True)
class HeldOut:
    """What a training does not see, and what it is asked about.

    Attributes:
        name: the end of the training's folder.
        classes: names of classes, as ``data.held_out`` takes them.
        questions: options of ``arnet eval`` by the heading of their column.
        overrides: what else of the configuration all trainings have.
    """

    name: str
    classes: tuple[str, ...]
    questions: dict[str, tuple[str, ...]]
    overrides: tuple[str, ...] = ()


def _fold(fold: int) -> HeldOut:
    """A fold of PASCAL, and both other data sets; asked about the fold."""
    names = [f"voc/{CLASS_NAMES[5 * fold + n]}" for n in range(1, 6)]
    question = {f"fold {fold}": ("--kind", "pascal", "--fold", str(fold))}
    return HeldOut(f"fold{fold}", (*names, "ccp/*", "davis/*"), question)


FOLDS = {fold: _fold(fold) for fold in (1, 2, 3)}
KINDS = HeldOut(
    "kinds",
    (
        *("voc/dog", "voc/horse", "voc/sofa", "voc/tvmonitor", "voc/pottedplant"),
        *("ccp/boots", "ccp/hat", "ccp/skirt", "davis/*"),
    ),
    {
        "VOC": ("--classes", "voc/*"),
        "clothing": ("--classes", "ccp/*"),
        "DAVIS": ("--classes", "davis/*"),
    },
)
"""What the twins of the models in weights/ do not see: more kinds of things than a fold has."""
WITH_PRIOR = replace(
    KINDS, name="kinds-with-prior", overrides=("model.prior=15", "model.prior_in_training=5")
)
"""Without a prior, after so few batches, nothing is found of kinds as far as these."""


@dataclass(frozen=True)
class Study:
    """A table: its variants, what they start from, how many shots they are tried with and on what.

    Attributes:
        variants: names of files in ``configs/ablation``.
        shots: k of the evaluations.
        init: the variant whose checkpoint the others start from; None starts from ImageNet.
        held_out: a training of each variant for each of these.
    """

    variants: tuple[str, ...]
    shots: tuple[int, ...] = (1,)
    init: str | None = None
    held_out: tuple[HeldOut, ...] = tuple(FOLDS.values())


STUDIES = {
    "parts": Study((FULL, "another-seed", "without-mpm1", "without-mpm2", "without-mrm")),
    "fusion": Study(("fusion-cmm", "fusion-attention", "fusion-mask"), (1, 5), FULL),
    "blocks": Study(("fusion-one-block", "fusion-two-blocks", "fusion-cmm"), (5,), FULL),
    # On folds, where only photographs of the validation are asked about: a union also asks about
    # those of the training that show what is held out, and they are background here.
    "lists": Study((FULL, "novel-as-background")),
    "prior": Study((FULL, "another-seed", "prior", "prior-strong"), held_out=(KINDS,)),
    "recipe": Study(
        (
            *(FULL, "another-seed", "third-seed"),
            *("sgd", "rate-1e-3", "rate-1e-4", "more-batches"),
            *("loss-of-q2-mostly", "pooling-map", "mask-hard", "gradient-flows", "without-f1"),
            *("shared-mpm", "vector-predicted", "cbam-residual", "cbam-none", "dropout", "wide"),
            *("weak-guides", "pseudo-classes", "no-augmentation", "size-321"),
        ),
        held_out=(WITH_PRIOR,),
    ),
}
