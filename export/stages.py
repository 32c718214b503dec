"""ARNet rewritten exactly into stages, split by what their results depend on.

    encode_image     pixels -> F, the reduced features: the same for supports and queries
    encode_support   F_s, M_s -> what of MPM1, MPM2 and MRM depends on one support alone
    fuse_support     the vectors of k supports -> the MRM's term of a class (CMM)
    encode_query     F_q -> its products with the first convolution of every module
    decode           both -> margins: per shot only the second and third convolutions of the MPMs

A convolution of concatenated maps is the sum of its parts over each (``folding.part``). With
W = [W_q | W_1 | W_2] the first convolution of an MPM, which sees [F_t; F1; F2], F1 = M ⊗ F and
F2 = f_u(V), V = f_p(F1); tensors that pass between the stages in quotes:

1. A tiled vector under a zero-padded 3x3 convolution has nine values, of corners, edges and inside:
   W_2 * f_u(V) is a product of V with nine matrices (``terms.TiledTerm``, spread by ``Places``).
2. MPM1: W * [F_q; F1; F2] = W_q * F_q, "query_match"
                           + W_1 * F1 + W_2 * f_u(V_s) + b, "match", kept with the support.
3. MPM2: W * [F_s; F1'; F2'] = W_q * F_s + b, "self", kept with the support
                             + W_2 * f_u(V'), V' = f_p(q1 ⊗ F_q) for all shots at once (MaskedPool)
                             + W_1 * (q1 ⊗ F_q). At p that is the sum over the taps t of
   q1(p + t) (W_1t F_q)(p + t): the nine products W_1t F_q, "query_taps", do not depend on q1, and
   a shot is nine of them masked, shifted and added (MaskedShiftSum), no convolution.
4. MRM: W * [F_q; f_u(V)] = W_q * F_q, "query_refine" + W_2 * f_u(V) + b, "refine", kept with the
   class: V = CMM(V_1 .. V_k) of the "prototype" of each support changes when the supports do.
5. All that is taken of F_q is one convolution with stacked outputs (``EncodeQuery``).
6. Of two logits only the difference counts: last convolutions have one output (``folding.margin``).

Which of these a configuration has is in ``layout``; the rest of ``decode`` is as drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arnet.export import folding
from arnet.export.decoder import Decode
from arnet.export.layout import Layout, layout_of
from arnet.export.operators import MaskedPool, MaskedPoolResized, Operator
from arnet.export.resampling import Averaging
from arnet.export.shot_fusion import shot_fusion
from arnet.export.terms import Places, TiledTerm, channels_of, first_convolution, first_convolutions
from arnet.modeling import ARNet
from arnet.modeling.prior import prior_features


@dataclass(frozen=True)
class Stages:
    """The stages of one model for one image size, in float32 and evaluation mode.

    Attributes:
        layout: the tensors between them.
        size: side of the square image, in pixels.
        grid: (h, w) of the features.
        modules: the stages by name, in the order they run.
    """

    layout: Layout
    size: int
    grid: tuple[int, int]
    modules: dict[str, nn.Module]

    def inputs(self, stage: str) -> tuple[str, ...]:
        """Names of a stage's inputs, in order."""
        return {
            "encode_image": ("pixels",),
            "encode_support": ("features", "mask", *self.layout.image[1:]),
            "fuse_support": ("prototypes",),
            "encode_query": self.layout.image,
            "decode": self.layout.decode,
        }[stage]

    def outputs(self, stage: str) -> tuple[str, ...]:
        """Names of a stage's outputs, in order."""
        return {
            "encode_image": self.layout.image,
            "encode_support": self.layout.per_shot,
            "fuse_support": self.layout.per_class,
            "encode_query": self.layout.query,
            "decode": self.layout.outputs,
        }[stage]

    def run(self, stage: str, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run a stage, which takes its inputs out of ``given``; its outputs by name."""
        results = self.modules[stage](*(given[name] for name in self.inputs(stage)))
        results = results if isinstance(results, tuple) else (results,)
        return dict(zip(self.outputs(stage), results, strict=True))


def factorise(model: ARNet, size: int) -> Stages:
    """Rewrite a trained model for images of ``size`` pixels; the model itself stays as it is."""
    model = copy.deepcopy(model).cpu().double().eval()
    folding.fold_batch_norms(model)
    layout = layout_of(model.config)
    with torch.no_grad():
        features = model.reduction(model.backbone(torch.zeros(1, 3, size, size).double()))
        grid = (features.shape[-2], features.shape[-1])
        modules = {
            "encode_image": EncodeImage(model),
            "encode_support": EncodeSupport(model, layout, size, grid),
            "fuse_support": FuseSupport(model),
            "encode_query": EncodeQuery(model, layout),
            "decode": Decode(model, layout, grid),
        }
    if not layout.per_class:
        del modules["fuse_support"]
    for module in modules.values():
        module.float().eval().requires_grad_(False)
    return Stages(layout, size, grid, modules)


class EncodeImage(nn.Module):
    """(1, 3, S, S) normalised pixels to (1, C, h, w): backbone and reduction.

    With a prior its deepest maps (1, C', h, w), too.
    """

    def __init__(self, model: ARNet) -> None:
        super().__init__()
        self.backbone, self.reduction = model.backbone, model.reduction
        self.deepest = model.backbone.widths[-1] if model.config.prior else 0

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """F and the deepest maps, of the type of the weights."""
        maps = self.backbone(pixels.to(self.backbone.conv1.weight))
        features: Tensor = self.reduction(maps)
        return (features, maps[:, -self.deepest :]) if self.deepest else (features,)


class EncodeSupport(nn.Module):
    """One support: (1, C, h, w) features and (1, S, S) mask, 0..1, to its tensors of the state.

    match   W_1 * F1 + W_2 * f_u(V_s) + b of MPM1; the query adds W_q * F_q
    self    W_q * F_s + b of MPM2; the query adds the rest
    attend  the same of ShotAttention
    refine  W_2 * f_u(V_s) + b of the MRM, for one shot alone
    prior   what the prior compares with: ``prior_features`` of the deepest maps
    """

    def __init__(self, model: ARNet, layout: Layout, size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.names = layout.per_shot
        config, width = model.config, channels_of(model)
        self.places = Places(grid)
        mpm1, mpm2 = first_convolutions(model)
        vector = 2 * width if config.masked_features else width
        self.match = folding.part(mpm1, width, vector, bias=True) if vector > width else None
        self.match_vector = TiledTerm(mpm1, vector, bias=self.match is None)
        self.own = folding.part(mpm2, 0, width, bias=True)
        self.refine = TiledTerm(first_convolution(model.mrm.conv1), width, bias=True)
        self.attend_vector = None
        if model.shot_attention is not None:
            attend = model.shot_attention.conv1
            self.attend = folding.part(attend, width, 2 * width, bias=True)
            if config.refine_vector == "annotation":
                self.attend_vector = TiledTerm(attend, 2 * width)
        wanting = {"attend", "prior"} | ({"match"} if config.masked_features else set())
        self.average = None
        self.pool: Operator = MaskedPoolResized(config.pooling, size, grid)
        if wanting & set(self.names):  # others than the pooling want the mask at the features' size
            self.average = Averaging(size, grid)
            self.pool = MaskedPool(config.pooling)

    def forward(
        self, features: Tensor, mask: Tensor, deep: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The tensors of ``layout.per_shot``."""
        masked, guide = features, mask[:, None]
        if self.average is not None:
            guide = self.average(mask)
            masked = guide.to(features.dtype) * features
        vector = self.pool(features, guide)
        tensors = {"prototype": vector, "support_features": features}
        if "match" in self.names:
            tensors["match"] = self.places(self.match_vector(vector))
            if self.match is not None:
                tensors["match"] = tensors["match"] + self.match(masked)
        if "self" in self.names:
            tensors["self"] = self.own(features)
        if "attend" in self.names:
            tensors["attend"] = self.attend(masked)
            if self.attend_vector is not None:
                tensors["attend"] = tensors["attend"] + self.places(self.attend_vector(vector))
        if "refine" in self.names:
            tensors["refine"] = self.refine(vector)
        if deep is not None:
            tensors["prior"] = prior_features(deep, guide).to(deep.dtype)
        return tuple(tensors[name] for name in self.names)


class FuseSupport(nn.Module):
    """(k, C) vectors of one class to (1, 9, D): W_2 * f_u(CMM(V_s)) + b of the MRM."""

    def __init__(self, model: ARNet) -> None:
        super().__init__()
        self.fusion = shot_fusion(model)
        self.refine = TiledTerm(first_convolution(model.mrm.conv1), channels_of(model), bias=True)

    def forward(self, prototypes: Tensor) -> Tensor:
        """The term; of one shot alone it is that of its own vector."""
        assert self.fusion is not None
        term: Tensor = self.refine(self.fusion(prototypes))
        return term


class EncodeQuery(nn.Module):
    """(1, C, h, w) features to their products: two convolutions, stacked, whatever follows.

    query_match, query_refine, query_attend   W_q * F_q of MPM1, the MRM and ShotAttention
    query_taps                                the nine products W_1t F_q of MPM2
    query_deep                                the deepest maps, every cell a unit vector
    """

    def __init__(self, model: ARNet, layout: Layout) -> None:
        super().__init__()
        self.names = layout.query
        width = channels_of(model)
        convolutions = {
            "query_match": first_convolutions(model)[0],
            "query_refine": first_convolution(model.mrm.conv1),
        }
        if model.shot_attention is not None:
            convolutions["query_attend"] = model.shot_attention.conv1
        self.stacked = [name for name in convolutions if name in layout.query]
        parts = [folding.part(convolutions[name], 0, width) for name in self.stacked]
        self.depths = [part.out_channels for part in parts]
        self.products = folding.stacked(parts)
        self.taps = None
        if "query_taps" in layout.query:
            _, mpm2 = first_convolutions(model)
            self.taps = folding.taps(folding.part(mpm2, width, 2 * width))

    def forward(self, features: Tensor, deep: Tensor | None = None) -> tuple[Tensor, ...]:
        """The tensors of ``layout.query``."""
        products = self.products(features).split(self.depths, dim=1)
        tensors = dict(zip(self.stacked, products, strict=True))
        tensors["query_features"] = features
        if self.taps is not None:
            tensors["query_taps"] = self.taps(features)
        if deep is not None:
            tensors["query_deep"] = F.normalize(deep.float(), dim=1).to(features.dtype)
        return tuple(tensors[name] for name in self.names)
