"""What is evaluated: an ARNet, and what needs no training on the same features, beside it.

Both answer an episode with margins, maps that are positive where they see the object, at any size;
the evaluator brings them to the size of the labels.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from arnet.data.dataset import SegmentationDataset
from arnet.data.episodes import Episode
from arnet.data.transforms import binary_mask, normalize, resize, to_tensors
from arnet.devices import autocast
from arnet.evaluation.encoder import Annotation, Encoder, guide_masks
from arnet.evaluation.reading import Reader
from arnet.modeling import ARNet
from arnet.modeling.layers import resize_mask
from arnet.modeling.margins import Margins, margins_of, upsample
from arnet.runtime.errors import ConfigError


class Predictor(Protocol):
    """Anything that segments a query from supports."""

    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """The masks of an episode whose supports are annotated by masks or by boxes."""
        ...


class ARNetPredictor:
    """An ARNet on squares of its input size."""

    def __init__(self, encoder: Encoder, model: ARNet | None = None) -> None:
        """Take an encoder.

        Args:
            encoder: encodes the images with its model.
            model: refines the masks; one with the same weights and another fusion, or None for that
                of the encoder.
        """
        self.encoder = encoder
        self.model = encoder.model if model is None else model.eval()

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        query = self.encoder.query(episode.query)
        state, labels = self.encoder.supports(episode, annotation)
        q1, s = self.encoder.first_masks(episode, annotation)
        prior = self.encoder.prior(episode, annotation)
        with self.encoder.autocast():
            prediction = self.model.refine(query, state, q1, s, prior)
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

    def __init__(self, reader: Reader) -> None:
        """Take a reader: that of an encoder reads for both."""
        self.reader = reader

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        query, _ = self._read(episode.query)
        sums = torch.stack(
            [
                self.reader.recent.get(
                    ("sums", name, episode.class_id, annotation),
                    partial(self._sum, name, episode.class_id, annotation),
                )
                for name in episode.supports
            ]
        )
        inside, around = F.normalize(sums.sum(dim=0), dim=1) @ F.normalize(query.flatten(1), dim=0)
        return Margins((inside - around).view(query.shape[1:]).cpu())

    def _sum(self, image_id: str, class_id: int, annotation: Annotation) -> Tensor:
        """Summed features of a support's foreground and of its background, (2, C)."""
        features, mask = self._read(image_id)
        label = torch.from_numpy(binary_mask(mask, class_id))[None]
        guide = guide_masks(label, annotation).to(features.device)
        small = resize_mask(guide, (features.shape[1], features.shape[2]))[0]
        return torch.cat([small, 1 - small]).flatten(1) @ features.flatten(1).T

    def _read(self, image_id: str) -> tuple[Tensor, NDArray[np.uint8]]:
        """Features (C, h, w) of the deepest layer, whose channels come last, and the mask."""
        # In float32, whatever the precision of the model: the baseline has always been.
        features, mask = self.reader.read(image_id)
        return features[0, -self.reader.backbone.widths[-1] :].float(), mask


class PriorAlone:
    """The prior of a model without the model: what its training adds is the difference."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @torch.inference_mode()
    def __call__(self, episode: Episode, annotation: Annotation) -> Margins:
        """See ``Predictor``."""
        prior = self.encoder.prior(episode, annotation)
        if prior is None:
            raise ConfigError("this model has no prior", "model.prior=20 trains one that has")
        return Margins(prior[0, 0].cpu())
