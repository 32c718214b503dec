"""ARNet: the active reference, assembled from MPM, MRM and CMM (sec. 3.1 of the paper).

    support (F_s, M_s) -> MPM1 -> q1, the query's mask
    query (F_q, q1)    -> MPM2 -> s, the support's mask, re-predicted
    q1, s, V_s         -> MRM  -> q2, the query's refined mask

One state, two verbs: ``encode_support(images, masks) -> SupportFeatures`` and
``segment(query, state) -> Prediction``. Training and evaluation use the same through ``forward``,
which starts from the backbone's features, so that these can be cached.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from arnet.config import ModelConfig
from arnet.modeling.attention import ShotAttention
from arnet.modeling.backbone import Backbone
from arnet.modeling.cmm import CMM
from arnet.modeling.layers import masked_pool, resize_mask
from arnet.modeling.mpm import MPM
from arnet.modeling.mrm import MRM
from arnet.modeling.prior import compete, likeness, prior_features, similarity
from arnet.modeling.state import FirstMasks, Prediction, QueryFeatures, SupportFeatures
from arnet.runtime.errors import ConfigError


class ARNet(nn.Module):
    """Active-reference network."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone)
        width = config.channels if config.reduce else self.backbone.channels
        self.reduction: nn.Module = nn.Identity()
        if config.reduce:
            self.reduction = nn.Sequential(
                nn.Conv2d(self.backbone.channels, width, 1), nn.ReLU(inplace=True)
            )
        mpms = 1 if config.share_mpm else 2
        self.mpm = nn.ModuleList(
            MPM(
                width,
                config.channels,
                config.pooling,
                config.masked_features,
                config.norm,
                config.dropout,
            )
            for _ in range(mpms)
        )
        pairs = config.pairing_shots if config.pairing == "concatenate" else 1
        self.mrm = MRM(
            width,
            config.channels,
            4 * pairs,
            config.cbam_reduction,
            config.cbam_kernel,
            config.aspp_rates,
            config.norm,
            config.dropout,
            config.prior,
            config.prior_in_training,
            config.cbam,
        )
        self.cmm: CMM | None = None
        self.shot_attention: ShotAttention | None = None
        if config.fusion == "attention":
            self.shot_attention = ShotAttention(width, config.channels)
        elif config.fusion == "cmm":
            self.cmm = CMM(
                width,
                config.cmm_dilations,
                config.cmm_kernel,
                config.cmm_gate_bias,
                config.cmm_start,
            )
        self._initialise()

    @property
    def fused_shots(self) -> int | None:
        """How many shots, the last ones, the refining vector is fused from; None for all."""
        return None if self.cmm is None else self.cmm.shots_seen

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("backbone"):
                if name.endswith(("conv3", "classify")):  # the logits of MPM and ASPP
                    nn.init.normal_(module.weight, std=0.01)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, query: Tensor, support: Tensor, support_masks: Tensor) -> Prediction:
        """Predict from the backbone's features.

        Args:
            query: ``backbone(images)`` of B queries, (B, C, h, w).
            support: ``backbone(images)`` of their supports, (B, k, C, h, w).
            support_masks: (B, k, H, W), from 0 to 1, at any size.
        """
        return self.decode(self.encode_query(query), self.encode_features(support, support_masks))

    def encode_support(self, images: Tensor, masks: Tensor) -> SupportFeatures:
        """Learn a class from k photographs.

        Args:
            images: (k, 3, H, W), normalised as the backbone needs.
            masks: (k, H, W), from 0 to 1; a box is a filled mask.

        Returns:
            A state for B = 1, for any k ≥ 1.
        """
        return self.encode_features(self.backbone(images)[None], masks[None])

    def segment(self, query: Tensor, states: dict[str, SupportFeatures]) -> dict[str, Prediction]:
        """Segment several classes in one query, whose features are computed once.

        Where ``config.competes``, they compete for what several of them find.

        Args:
            query: one image (1, 3, H, W), normalised.
            states: a state (B = 1) of each class, each of any number of shots.
        """
        features = self.encode_query(self.backbone(query))
        found = {name: self.decode(features, state) for name, state in states.items()}
        return self._compete(features, states, found) if self.config.competes else found

    def encode_query(self, features: Tensor) -> QueryFeatures:
        """What the decoder takes, from the backbone's features (B, C, h, w)."""
        return QueryFeatures(self.reduction(features), self.deepest(features))

    def deepest(self, features: Tensor) -> Tensor | None:
        """The channels of the backbone's last layer, which the prior compares; None without it."""
        return features[:, -self.backbone.widths[-1] :] if self.config.prior else None

    def encode_features(self, support: Tensor, masks: Tensor) -> SupportFeatures:
        """A state from the backbone's features (B, k, C, h, w) and masks (B, k, H, W)."""
        batch, shots = support.shape[:2]
        deep = self.deepest(support.flatten(0, 1))
        features = self.reduction(support.flatten(0, 1))
        small = resize_mask(masks.flatten(0, 1), features.shape[-2:])
        vectors = masked_pool(features, small, self.config.pooling)
        return SupportFeatures(
            features.unflatten(0, (batch, shots)),
            small.unflatten(0, (batch, shots)),
            vectors.unflatten(0, (batch, shots)),
            None if deep is None else prior_features(deep, small).unflatten(0, (batch, shots)),
        )

    def decode(self, query: QueryFeatures, state: SupportFeatures) -> Prediction:
        """The three masks, from the query's features and a state."""
        return self.refine(query, state, *self.first_masks(query, state), self.prior(query, state))

    def first_masks(self, query: QueryFeatures, state: SupportFeatures) -> FirstMasks:
        """Logits q1 and s.

        Those of a support depend on the query and on itself, not on the other supports.
        """
        shots, without = state.shots, self.config.without
        # For the MPMs every shot is a pair (query, support) of its own: (B * k, ...).
        repeated = query.features[:, None].expand(-1, shots, -1, -1, -1).flatten(0, 1)
        support, support_masks = state.features.flatten(0, 1), state.masks.flatten(0, 1)
        q1 = s = None
        if "mpm1" not in without:
            q1 = self.mpm[0](repeated, support, support_masks)
        if "mpm2" not in without:
            q1_map = self._mask_of(q1, like=repeated)
            s = self.mpm[-1](support, repeated, q1_map[:, 1:])
        q1, s = (None if maps is None else maps.unflatten(0, (-1, shots)) for maps in (q1, s))
        return q1, s

    def prior(self, query: QueryFeatures, state: SupportFeatures) -> Tensor | None:
        """The prior's similarity map (B, 1, h, w); None where the model has no prior."""
        if query.deep is None or state.prior is None:
            return None
        return similarity(query.deep, state.prior)

    def refine(
        self,
        query: QueryFeatures,
        state: SupportFeatures,
        q1: Tensor | None,
        s: Tensor | None,
        prior: Tensor | None,
    ) -> Prediction:
        """The prediction, from the query's features, a state, their first masks and the prior."""
        if "mrm" in self.config.without:
            assert q1 is not None
            return Prediction(q1, s, q1.mean(dim=1))

        def maps_of(logits: Tensor | None) -> Tensor:
            flat = None if logits is None else logits.flatten(0, 1)
            maps = self._mask_of(flat, like=state.features.flatten(0, 1))
            return maps.unflatten(0, (-1, state.shots))

        return Prediction(q1, s, self._refine(query, state, maps_of(q1), maps_of(s), prior))

    def _compete(
        self, query: QueryFeatures, states: dict[str, SupportFeatures], found: dict[str, Prediction]
    ) -> dict[str, Prediction]:
        """The same with the foreground of q2 lowered where another class is likelier."""
        assert query.deep is not None
        alike = [likeness(query.deep, s.prior) for s in states.values() if s.prior is not None]
        logits = torch.cat([prediction.q2.float() for prediction in found.values()])
        margins = compete(logits[:, 1:] - logits[:, :1], torch.cat(alike))
        lowered = torch.cat([logits[:, :1], logits[:, :1] + margins], dim=1)[:, None]
        return {
            name: replace(prediction, q2=q2)
            for (name, prediction), q2 in zip(found.items(), lowered, strict=True)
        }

    def _mask_of(self, logits: Tensor | None, like: Tensor) -> Tensor:
        """Softmax map (N, 2, h, w) of logits; 0.5 everywhere for a part that is left out."""
        if logits is None:
            return like.new_full((like.shape[0], 2, *like.shape[-2:]), 0.5, dtype=torch.float32)
        if self.config.detach_mask:
            logits = logits.detach()
        maps = logits.float().softmax(dim=1)
        if self.config.mask == "hard":
            foreground = (maps[:, 1:] > maps[:, :1]).float()
            hard = torch.cat([1 - foreground, foreground], dim=1)
            # The value is the argmax, the gradient that of the softmax.
            maps = hard + (maps - maps.detach())
        return maps

    def _refine(
        self,
        query: QueryFeatures,
        state: SupportFeatures,
        q1: Tensor,
        s: Tensor,
        prior: Tensor | None,
    ) -> Tensor:
        """q2 (B, 2, h, w) of the masks q1 and s (B, k, 2, h, w), by the chosen fusion."""
        features, vectors = query.features, state.vectors
        if self.config.refine_vector == "predicted":
            vectors = masked_pool(
                state.features.flatten(0, 1), s[:, :, 1:].flatten(0, 1), self.config.pooling
            ).unflatten(0, vectors.shape[:2])
        pairs = torch.cat([q1, s], dim=2)
        if self.config.pairing == "concatenate" and state.shots != self.config.pairing_shots:
            raise ConfigError(
                f"this model takes exactly {self.config.pairing_shots} supports, not {state.shots}",
                "model.pairing=mean trains one that takes any number",
            )
        if self.config.fusion == "mask":
            each = torch.stack(
                [self.mrm(features, vectors[:, i], pairs[:, i], prior) for i in range(state.shots)],
                dim=1,
            )
            return _union(each)
        masks = pairs.flatten(1, 2) if self.config.pairing == "concatenate" else pairs.mean(dim=1)
        if self.shot_attention is not None:
            vector = self.shot_attention(features, state.features, state.masks, vectors)
        elif self.cmm is not None:
            vector = self.cmm(vectors)
        else:
            vector = vectors.mean(dim=1)
        return self.mrm(features, vector, masks, prior)


def _union(logits: Tensor) -> Tensor:
    """The logits (B, 2, h, w) of the union of k masks given as logits (B, k, 2, h, w).

    At each place it is the shot that is surest of the foreground: the union of the masks (OSLSM)
    with a probability.
    """
    margin = logits[:, :, 1] - logits[:, :, 0]
    surest = margin.argmax(dim=1, keepdim=True)[:, :, None]
    return logits.gather(1, surest.expand(-1, -1, 2, -1, -1))[:, 0]
