"""What a model makes of images and pairs of images, kept for the episodes that follow.

A run has far more episodes than images: computed anew for each, nearly all of its time went into
what had been computed before. Everything here is computed for one image or one pair at a time, so
that a result never depends on what was kept.
"""

from __future__ import annotations

from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from arnet.data.episodes import Episode
from arnet.data.transforms import binary_mask
from arnet.devices import autocast
from arnet.evaluation.reading import Reader
from arnet.inputs import InputSource
from arnet.modeling import ARNet
from arnet.modeling.prior import answers, nearest, unit_cells
from arnet.modeling.state import FirstMasks, QueryFeatures, SupportFeatures
from arnet.runtime.annotations.shapes import boxes_from_mask

Annotation = Literal["mask", "box"]


class Encoder:
    """Encodes the images of episodes with an ARNet."""

    def __init__(
        self, model: ARNet, source: InputSource, precision: torch.dtype = torch.float32
    ) -> None:
        self.model = model.eval()
        self.precision = precision
        self.reader = Reader(model.backbone, source)
        self.device = self.reader.device
        self._recent = self.reader.recent

    def autocast(self) -> torch.autocast:
        """The precision asked for."""
        return autocast(self.device, self.precision)

    def query(self, image_id: str) -> QueryFeatures:
        """Features of one query (B = 1)."""

        def make() -> QueryFeatures:
            features, _ = self.reader.read(image_id, self.precision)
            with self.autocast():
                encoded = self.model.encode_query(features.float())
            # Without the deepest layer, which is large: the prior takes it from what was read.
            return QueryFeatures(encoded.features)

        return self._recent.get(("query", image_id), make)

    def supports(self, episode: Episode, annotation: Annotation) -> tuple[SupportFeatures, Tensor]:
        """The state of an episode's supports (B = 1), and their labels (k, S, S), 0, 1 or 255."""
        read = [self._support(name, episode.class_id, annotation) for name in episode.supports]
        state = reduce(SupportFeatures.add, (state for state, _ in read))
        return state, torch.stack([labels for _, labels in read])

    def first_masks(self, episode: Episode, annotation: Annotation) -> FirstMasks:
        """Logits q1 and s (1, k, 2, h, w)."""
        pairs = [self._pair(episode, name, annotation) for name in episode.supports]
        q1, s = zip(*pairs, strict=True)
        return _joined(q1), _joined(s)

    def prior(self, episode: Episode, annotation: Annotation) -> Tensor | None:
        """The prior's similarity map (1, 1, h, w), as `ARNet.prior` gives it."""
        if not self.model.config.prior:
            return None

        def make() -> Tensor:
            cells = self._unit_cells(episode.query)
            near = [self._nearest(episode, name, annotation) for name in episode.supports]
            state, _ = self.supports(episode, annotation)
            assert state.prior is not None
            pair = state.prior[:, :, :, 0].float().mean(dim=1)
            answer = answers(cells, pair, torch.stack(near, dim=1).amax(dim=1))
            return answer.view(1, 1, *state.features.shape[-2:])

        return self._recent.get(("prior", episode, annotation), make)

    def _unit_cells(self, image_id: str) -> Tensor:
        """Not kept: as large as what was read, and quickly made of it."""
        deep = self.model.deepest(self.reader.read(image_id, self.precision)[0])
        assert deep is not None
        return unit_cells(deep)

    def _nearest(self, episode: Episode, support: str, annotation: Annotation) -> Tensor:
        """Similarity (1, 2, h * w) of the query to the nearest local prototypes of one support."""

        def make() -> Tensor:
            state, _ = self._support(support, episode.class_id, annotation)
            assert state.prior is not None
            return nearest(state.prior[:, 0, :, 1:].float(), self._unit_cells(episode.query))

        key = ("near", episode.query, support, episode.class_id, annotation)
        return self._recent.get(key, make)

    def _support(
        self, image_id: str, class_id: int, annotation: Annotation
    ) -> tuple[SupportFeatures, Tensor]:
        def make() -> tuple[SupportFeatures, Tensor]:
            features, mask = self.reader.read(image_id, self.precision)
            labels = torch.from_numpy(binary_mask(mask, class_id))[None]
            guides = guide_masks(labels, annotation).to(self.device)
            with self.autocast():
                state = self.model.encode_features(features.float()[None], guides[None])
            return state, labels[0]

        return self._recent.get(("support", image_id, class_id, annotation), make)

    def _pair(self, episode: Episode, support: str, annotation: Annotation) -> FirstMasks:
        def make() -> FirstMasks:
            state, _ = self._support(support, episode.class_id, annotation)
            with self.autocast():
                return self.model.first_masks(self.query(episode.query), state)

        key = ("pair", episode.query, support, episode.class_id, annotation)
        return self._recent.get(key, make)


def guide_masks(labels: Tensor, annotation: Annotation) -> Tensor:
    """What guides the model: the masks (k, H, W) or their filled boxes, 0 or 1, float32.

    Pixels labelled 255 guide as background.
    """
    masks = (labels == 1).to(torch.uint8)
    if annotation == "box":
        masks = torch.stack([torch.from_numpy(boxes_from_mask(mask.numpy())) for mask in masks])
    return masks.float()


def _joined(maps: tuple[Tensor | None, ...]) -> Tensor | None:
    """Maps (1, 1, 2, h, w) of k supports as (1, k, 2, h, w)."""
    found = [one for one in maps if one is not None]
    return torch.cat(found, dim=1) if found else None
