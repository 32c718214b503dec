"""The configuration of everything: one frozen tree, read from YAML, overridden from the shell.

Where the paper is silent a field says what was chosen and why; each such field is an ablation.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Layer = Literal["layer2", "layer3"]
Module = Literal["mpm1", "mpm2", "mrm"]
Positive = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]

_STRICT = ConfigDict(extra="forbid")
_UNSAID = -1  # the kind of the data decides


@dataclass(frozen=True, config=_STRICT)
class BackboneConfig:
    """ResNet up to layer3 ("the first four layers": stem, layer1, layer2, layer3; CANet)."""

    name: Literal["resnet50", "resnet101", "resnet18"] = "resnet50"
    output_stride: Literal[8, 16] = 8
    """8: layer3 has stride 1 and dilation 2 (CANet, PFENet). 16: as ImageNet trained it."""
    stride_in_1x1: bool = False
    """Where a bottleneck has its stride: False in the 3x3 (torchvision's v1.5), True in the first
    1x1 (the original v1, Caffe, Keras). It must be the one that the weights were trained with."""
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = ("layer2", "layer3")
    """Feature maps that are concatenated (CANet: both, 1536 channels for a ResNet-50)."""

    def __post_init__(self) -> None:
        if self.layers not in (("layer2", "layer3"), ("layer2",), ("layer3",)):
            raise ValueError("layers are layer2 and layer3, in this order, or one of them")


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """ARNet. Defaults follow the precedents of the paper (CANet above all)."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    channels: Positive = 256
    """Width of every part."""
    reduce: bool = True
    """A 1x1 convolution from the backbone's channels to ``channels``, or those as they are."""
    norm: Literal["none", "batch"] = "none"
    """Normalisation after a convolution of MPM, MRM and ASPP. CANet has none."""
    dropout: Probability = 0.0
    """Probability of Dropout2d after the hidden convolutions of MPM and the branches of ASPP."""
    pooling: Literal["area", "map"] = "area"
    """f_p of eq. 3: divided by the mask's area (every precedent), or, as literally written, by the
    size of the map, which makes V_s grow with the object."""
    masked_features: bool = True
    """F1 in eq. 4: the guiding image's geometry beside the guided one's; False keeps F2 alone."""
    share_mpm: bool = False
    """MPM1 and MPM2 with the same weights. The paper's figure draws two."""
    mask: Literal["soft", "hard"] = "soft"
    """Predicted masks that MPM2 and MRM take: the softmax, or its argmax (PANet, SCL)."""
    detach_mask: bool = True
    """Whether gradients stop at these masks (CANet). Else the loss of s teaches MPM1 to hide the
    support's mask, which F1 shows it, in q1: s is nearly perfect, q1 poor (docs/results.md)."""
    refine_vector: Literal["annotation", "predicted"] = "annotation"
    """Mask that pools V_s for the MRM: the annotation (eq. 5) or the re-predicted s."""
    prior: Annotated[float, Field(ge=0)] = 0.0
    """Not in the paper; 0 leaves it out. A similarity map of the frozen layer3 (modeling/prior.py),
    times this number, is one more input of the MRM and is added to its result, so that what is far
    from all classes of the training is found, too. A similarity of a few hundredths decides."""
    prior_in_training: Annotated[float | None, Field(gt=0)] = None
    """What stands in place of ``prior`` while the model is in training mode; None: the same. A
    model that is trained with a strong prior learns to contradict it (docs/results.md)."""
    pairing: Literal["mean", "concatenate"] = "mean"
    """k pairs [q1_i; s_i] in the MRM: their mean, or all 4k channels of ``pairing_shots`` shots."""
    pairing_shots: Positive = 5
    cbam: Literal["input", "residual", "none"] = "input"
    """Where the MRM has its CBAM: X = CBAM(F4) (eq. 7), on the residual branch as in a ResNet with
    CBAM, X = F4, ASPP(X ⊕ CBAM(conv(conv(X)))), or nowhere."""
    cbam_reduction: Positive = 16
    cbam_kernel: Positive = 7
    aspp_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (6, 12, 18)
    fusion: Literal["cmm", "attention", "mask", "mean"] = "cmm"
    """k shots: CMM (eq. 8), attention over the shots (CANet), the union of the k one-shot masks
    (OSLSM), or the mean of the k vectors; Table 6."""
    cmm_dilations: tuple[Positive, ...] = (1, 2, 4)
    """One forget-and-enhance block each. Kernel 2 with 1, 2, 4 sees 8 shots (as SNAIL does)."""
    cmm_kernel: Annotated[int, Field(ge=2)] = 2
    cmm_gate_bias: float = 2.0
    """How open the forget gate starts, how closed the enhance gate: near the last vector."""
    cmm_start: Literal["last", "mean"] = "last"
    """What an untrained CMM gives: nearly the last vector, or nearly the mean of five. A model of
    ``train.init`` with the other start loses its CMM."""
    without: tuple[Module, ...] = ()
    """Parts left out (Table 5). MPM1 or MPM2: its mask is 0.5 everywhere and has no loss. MRM: the
    result is q1, averaged over the shots."""

    @property
    def together(self) -> bool:
        """Whether the shots of several classes can be decoded at once, whatever their number."""
        fused = self.fusion in ("cmm", "mean") and self.refine_vector == "annotation"
        return "mrm" in self.without or (fused and self.pairing == "mean")

    @property
    def competes(self) -> bool:
        """Whether classes on one query compete, by the prior, for where several find themselves."""
        return bool(self.prior) and self.together

    def __post_init__(self) -> None:
        if {"mpm1", "mrm"} <= set(self.without):
            raise ValueError("without mpm1 and mrm nothing predicts the query's mask")
        if self.prior and "mrm" in self.without:
            raise ValueError("the prior is an input of the mrm, which is left out")
        if self.prior_in_training and not self.prior:
            raise ValueError("prior_in_training is set, but prior is 0: there is none in use")
        if self.pairing == "concatenate" and self.fusion == "mask":
            raise ValueError("fusion mask refines each pair alone: pairing cannot be concatenate")
        if self.cbam_kernel % 2 == 0:
            raise ValueError(f"cbam_kernel is {self.cbam_kernel}: an odd one keeps the size")


@dataclass(frozen=True, config=_STRICT)
class AugmentConfig:
    """Random changes of image and mask together, in training: how probable and how strong.

    CANet scales supports by 1 to 1.5 and flips; PFENet scales by 0.9 to 1.1, rotates by 10 degrees.
    """

    flip: Probability = 0.5
    scale: Probability = 0.5
    scale_range: tuple[float, float] = (0.9, 1.5)
    """Least and most factor; above 1 the photograph is cropped, below 1 it is padded."""
    rotate: Probability = 0.5
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Most rotation to either side."""
    color: Probability = 0.5
    brightness: Probability = 0.2
    contrast: Probability = 0.2
    saturation: Probability = 0.2
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high:
            raise ValueError(f"scale_range is {low}..{high}: give 0 < least <= most")


@dataclass(frozen=True, config=_STRICT)
class MemberConfig:
    """One data set of a union."""

    name: Annotated[str, Field(pattern="^[^/]+$")]
    """Stands before its classes, without a slash of its own: ``voc`` makes ``voc/dog``."""
    kind: Literal["pascal", "coco", "folder", "davis"]
    root: str = "."
    """Its folder, seen from the union's."""
    share: Annotated[float, Field(gt=0)] = 1.0
    """Of the training's episodes, against the others' shares; with ``data.sampling=class``."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Images of a class that are enough; further ones only where another has fewer. 0 takes all."""


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Photographs, their masks and which classes are novel."""

    kind: Literal["pascal", "coco", "folder", "davis", "union"] = "pascal"
    root: str = ""
    members: tuple[MemberConfig, ...] = ()
    """Data sets of a union, whose classes are all classes of it."""
    annotations: Literal["aug", "voc"] = "aug"
    """Masks of PASCAL: with those of SBD (SegmentationClassAug, trainaug.txt), or VOC's alone
    (SegmentationClass, train.txt)."""
    year: Literal[2014, 2017] = 2014
    """Of COCO; most papers take 2014."""
    fold: Annotated[int, Field(ge=0, le=3)] | None = _UNSAID
    """Classes held out (the paper's split i is fold i-1), 0 by default; none by default of a folder
    and of DAVIS. Not used in a union or beside ``held_out``."""
    held_out: tuple[str, ...] = ()
    """Names of held-out classes of a folder or a union, in which ``davis/*`` means all of DAVIS."""
    novel: Literal["background", "drop"] = "background"
    """Training images that show a novel class: its pixels are background, or the image is left
    out (BAM). Both conventions are in use; figures under one do not compare with the other."""
    image_size: Annotated[int, Field(ge=33)] = 321
    """Side of the square that images are resized to, in pixels."""
    min_share: Probability | None = None
    """Least share of a photograph that a class must cover to be used; for folders, where None is a
    hundredth, and for DAVIS, where it is a two-hundredth, but not in unions."""
    sampling: Literal["class", "image"] = "class"
    """Episodes in training: first a class, then its images, or any (image, class) pair."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    cache: str = ""
    """Folder for the frozen backbone's features; empty computes them anew for each episode. It
    does not notice when a photograph or mask changes: delete it then."""
    cache_views: Positive = 2
    """Versions of every training image in the cache: the plain one and augmented ones."""

    @property
    def used_fold(self) -> int | None:
        """``fold``, where it counts: neither in a union nor beside ``held_out``."""
        return None if self.members or self.held_out else self.fold

    def __post_init__(self) -> None:
        if self.fold == _UNSAID:
            object.__setattr__(self, "fold", None if self.kind in ("folder", "davis") else 0)
        if self.held_out and self.kind not in ("folder", "union"):
            raise ValueError(f"held_out is for folders and unions: {self.kind} has folds")
        if (self.kind == "union") != bool(self.members):
            raise ValueError("a union has members, and nothing else has")


@dataclass(frozen=True, config=_STRICT)
class StageConfig:
    """A stretch of training with its own shots and learning rate."""

    iterations: Positive
    shots: tuple[Positive, Positive] = (1, 1)
    """Smallest and largest k, drawn anew for each batch."""
    learning_rate: Annotated[float, Field(gt=0)] = 2.5e-3
    trainable: Literal["all", "fusion"] = "all"
    """"fusion" trains CMM (or attention) and MRM, and keeps MPM1, MPM2 and the reduction."""
    absent: Probability | None = None
    """In place of ``train.absent``, in this stage."""

    def __post_init__(self) -> None:
        if self.shots[0] > self.shots[1]:
            raise ValueError(f"shots are {self.shots[0]}..{self.shots[1]}: give least, then most")


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """Optimisation. SGD and poly 0.9 as CANet and PFENet."""

    backbone_weights: str = "imagenet"
    """"imagenet" takes torchvision's (a download), "random" none; else a safetensors file, or a
    checkpoint whose backbone is taken, such as "arnet-r50" (docs/data.md)."""
    init: str = ""
    """Checkpoint to start from: a path, or the name of one that comes with arnet."""
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)] = (
        StageConfig(iterations=20_000),
        StageConfig(iterations=5_000, shots=(1, 5), trainable="fusion"),
    )
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Probability = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    power: Annotated[float, Field(ge=0)] = 0.9
    """Exponent of the polynomial decay of the learning rate."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Iterations over which the learning rate of each stage rises from zero."""
    clip: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    batch_size: Positive = 4
    """Episodes of one optimisation step, over all processes and accumulated parts."""
    accumulate: Positive = 1
    """Parts that a batch is split into, so that it fits the memory."""
    weak_guides: Probability = 0.0
    """How often a support's mask is made careless before it guides: a box, a coarse outline, grown
    or shrunk. The labels of the losses stay the true ones."""
    absent: Probability = 0.0
    """How often the query does not show the class, as it may be in use, unlike in the field."""
    pseudo_classes: Probability = 0.0
    """How often an episode is about a region that its images share by the look of the frozen
    features, not about its class, so that the model learns to find what the support marks. It may
    be of a novel class, so that photographs which show one must be left out, ``novel=drop``."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    beta: Annotated[float, Field(ge=0)] = 1.0
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """Weights of the losses of q1, s and q2 (eqs 1 and 2)."""
    balance: Probability = 0.0
    """How much an object outweighs its surroundings in these losses; 0 is the paper's."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """bf16 and fp16 are automatic mixed precision; fp16 needs a GPU."""
    store: Literal["fp32", "fp16"] = "fp32"
    """Numbers in the checkpoint: fp16 halves the file, for a model that is given away."""
    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read images; 0 reads in the training process."""
    save_every: Positive = 500
    """Iterations between checkpoints: what a killed run loses at most."""
    validate_every: Annotated[int, Field(ge=0)] = 1000
    """Iterations between validations; 0 never validates."""
    validate_episodes: Positive = 100
    validate_classes: Literal["training", "novel"] = "training"
    """Classes that choose the best checkpoint; "novel", as the precedents do, looks at the test."""

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} cannot be split in {self.accumulate}")


@dataclass(frozen=True, config=_STRICT)
class Config:
    """The whole: model, data, training."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
