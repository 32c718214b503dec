"""What is evaluated: an ARNet, and what needs no training on the same features, beside it.

Both answer an episode with margins, maps that are positive where they see the object, at any size;
the evaluator brings them to the size of the labels.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from arnet.data.dataset import SegmentationDataset
from arnet.data.episodes import Episode
from arnet.data.transforms import binary_mask, normalize, resize, to_tensors
from arnet.devices import autocast
from arnet.inputs import InputSource
from arnet.modeling import ARNet, Backbone
from arnet.modeling.layers import resize_mask
from arnet.modeling.margins import Margins, margins_of, upsample
from arnet.modeling.prior import prototypes, similarity
from arnet.runtime.annotations.shapes import boxes_from_mask
from arnet.runtime.errors import ConfigError

Annotation = Literal["mask", "box"]


class Predictor(Protocol):
    """Anything that segments a query from supports."""

    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """The masks of an episode whose supports are annotated by masks or by boxes."""
        ...


class ARNetPredictor:
    """An ARNet on squares of its input size."""

    def __init__(
        self, model: ARNet, source: InputSource, precision: torch.dtype = torch.float32
    ) -> None:
        self.model = model.eval()
        self.source = source
        self.precision = precision

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        device = next(self.model.parameters()).device
        query, support, labels = read_episode(self.source, episode)
        guides = guide_masks(labels, annotation)
        with autocast(device, self.precision):
            if not self.source.features:
                query, support = (
                    self.model.backbone(query.to(device)),
                    self.model.backbone(support.to(device)),
                )
            prediction = self.model(
                query.to(device, torch.float32),
                support.to(device, torch.float32)[None],
                guides.to(device)[None],
            )
        return margins_of(prediction, labels)


class OriginalSizePredictor:
    """An ARNet on photographs of their own size, its logits summed over several scales.

    The supports are resized to the size of the query: MPM joins their feature maps.
    """

    def __init__(
        self,
        model: ARNet,
        dataset: SegmentationDataset,
        scales: tuple[float, ...],
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.model = model.eval()
        self.dataset = dataset
        self.scales = scales
        self.precision = precision

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        device = next(self.model.parameters()).device
        height, width = self.dataset.mask(episode.query).shape
        q2 = torch.zeros(height, width)
        q1: Tensor | None = torch.zeros(height, width)
        last: Margins | None = None
        for scale in self.scales:
            size = (max(33, round(height * scale)), max(33, round(width * scale)))
            query, _ = self._read(episode.query, episode.class_id, size)
            read = [self._read(name, episode.class_id, size) for name in episode.supports]
            labels = torch.stack([label for _, label in read])
            with autocast(device, self.precision):
                prediction = self.model.decode(
                    self.model.encode_query(self.model.backbone(query[None].to(device))),
                    self.model.encode_support(
                        torch.stack([image for image, _ in read]).to(device),
                        guide_masks(labels, annotation).to(device),
                    ),
                )
            last = margins_of(prediction, labels)
            q2 += upsample(last.q2, (height, width))
            q1 = None if q1 is None or last.q1 is None else q1 + upsample(last.q1, (height, width))
        assert last is not None
        return Margins(q2, q1, last.s, last.support_labels)

    def _read(self, image_id: str, class_id: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        label = binary_mask(self.dataset.mask(image_id), class_id)
        image, mask = resize(*to_tensors(self.dataset.image(image_id), label), size)
        return normalize(image), mask.as_subclass(Tensor)


class PrototypeBaseline:
    """The training-free baseline: masked-average prototypes and cosine similarity.

    The mean feature of the foreground and that of the background of all supports; a cell of the
    query belongs to the nearer one.
    """

    def __init__(self, backbone: Backbone, source: InputSource) -> None:
        self.backbone = backbone
        self.source = source
        # The deepest layer alone, whose channels come last.
        self.layer3 = slice(-backbone.widths[-1], None)

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        device = next(self.backbone.parameters()).device
        query, support, labels = read_episode(self.source, episode)
        if not self.source.features:
            query, support = self.backbone(query.to(device)), self.backbone(support.to(device))
        query, support = query.float()[:, self.layer3], support.float()[:, self.layer3]
        size = (support.shape[-2], support.shape[-1])
        masks = resize_mask(guide_masks(labels, annotation).to(support.device), size)
        weights = masks.sum(dim=(0, 2, 3)), (1 - masks).sum(dim=(0, 2, 3))
        similarities = [
            F.cosine_similarity(
                query,
                ((support * mask).sum(dim=(0, 2, 3)) / weight.clamp(min=1e-6))[None, :, None, None],
            )
            for mask, weight in zip((masks, 1 - masks), weights, strict=True)
        ]
        return Margins((similarities[0] - similarities[1])[0].cpu())


class PriorAlone:
    """The prior of a model without the model: what its training adds is the difference."""

    def __init__(self, model: ARNet, source: InputSource) -> None:
        self.model = model.eval()
        self.source = source

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        device = next(self.model.parameters()).device
        query, support, labels = read_episode(self.source, episode)
        if not self.source.features:
            query = self.model.backbone(query.to(device))
            support = self.model.backbone(support.to(device))
        deep, theirs = (self.model.deepest(maps.to(device)) for maps in (query, support))
        if deep is None or theirs is None:
            raise ConfigError("this model has no prior", "model.prior=20 trains one that has")
        size = (theirs.shape[-2], theirs.shape[-1])
        small = resize_mask(guide_masks(labels, annotation).to(device), size)
        return Margins(similarity(deep, prototypes(theirs, small)[None])[0, 0].cpu())


def read_episode(source: InputSource, episode: Episode) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the query (1, ...) and supports (k, ...), and the supports' labels (k, S, S)."""
    query, _ = source.read(episode.query)
    read = [source.read(name) for name in episode.supports]
    labels = torch.stack(
        [torch.from_numpy(binary_mask(mask, episode.class_id)) for _, mask in read]
    )
    return query[None], torch.stack([inputs for inputs, _ in read]), labels


def guide_masks(labels: Tensor, annotation: Annotation) -> Tensor:
    """What guides the model: the masks (k, H, W) or their filled boxes, 0 or 1, float32.

    Pixels labelled 255 guide as background.
    """
    masks = (labels == 1).to(torch.uint8)
    if annotation == "box":
        masks = torch.stack([torch.from_numpy(boxes_from_mask(mask.numpy())) for mask in masks])
    return masks.float()
