"""Segmentation of a person's own photographs with a trained checkpoint, in torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from arnet.checkpoint import Checkpoint, load_checkpoint
from arnet.data.transforms import prepare
from arnet.devices import choose_device
from arnet.modeling import SupportFeatures
from arnet.modeling.margins import margins_of
from arnet.runtime.segmentation import ClassMasks, Segmentation
from arnet.runtime.state import check_given
from arnet.runtime.tensors import check_image, check_supports


class TorchSegmenter:
    """A checkpoint behind the interface ``arnet.runtime.segmentation.FewShotSegmenter``."""

    def __init__(
        self, checkpoint: Checkpoint, name: str, device: str = "auto", size: int | None = None
    ) -> None:
        """Put a model on its device.

        Args:
            checkpoint: the trained model.
            name: what it is called in results.json.
            device: "auto", "cpu", "cuda" or "cuda:1".
            size: side in pixels that images are resized to; None is the one of the training.
        """
        self.device = choose_device(device)
        self.model = checkpoint.model.to(self.device)
        self.size = size or checkpoint.config.data.image_size
        self.name = name
        self.sha256 = checkpoint.sha256
        self._fused_shots = checkpoint.model.fused_shots

    @classmethod
    def load(cls, path: Path, device: str = "auto", size: int | None = None) -> TorchSegmenter:
        """Read a checkpoint.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: there is no such device.
        """
        return cls(load_checkpoint(path), path.name, device, size)

    @torch.inference_mode()
    def learn(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> SupportFeatures:
        """See ``FewShotSegmenter.learn``. States of the same class are joined with ``state.add``.

        Raises:
            AnnotationError: an image and its mask differ in size, nothing was given, or nothing is
                left of an object at the size that the model sees.
            ImageError: an image is of another type or shape.
        """
        check_supports(images, masks, self.size)
        read = [prepare(i, m, self.size) for i, m in zip(images, masks, strict=True)]
        inputs = torch.stack([image for image, _ in read]).to(self.device)
        guides = torch.stack([mask == 1 for _, mask in read]).to(self.device, torch.float32)
        return self.model.encode_support(inputs, guides)

    @torch.inference_mode()
    def segment(
        self,
        image: NDArray[np.uint8],
        states: Mapping[str, SupportFeatures],
        *,
        parts: bool = True,
    ) -> Segmentation:
        """See ``FewShotSegmenter.segment``; the backbone runs once for all classes.

        Raises:
            ImageError: the image is of another type or shape.
            StateError: there is no state, or what is none.
        """
        check_image(image)
        check_given(states.values(), SupportFeatures, "checkpoint")
        height, width = image.shape[:2]
        started = time.perf_counter()
        query, _ = prepare(image, np.zeros((height, width), np.uint8), self.size)
        prepared = time.perf_counter()
        predictions = self.model.segment(query[None].to(self.device), dict(states))
        classes = {}
        for name, prediction in predictions.items():
            margins = margins_of(prediction)
            classes[name] = ClassMasks(
                _probability(margins.q2, (height, width)),
                _probability(margins.q1, (height, width))
                if parts and margins.q1 is not None
                else None,
                margins.s.sigmoid().numpy() if parts and margins.s is not None else None,
            )
        done = time.perf_counter()
        return Segmentation(classes, {"prepare": prepared - started, "model": done - prepared})

    def describe(self) -> dict[str, Any]:
        """See ``FewShotSegmenter.describe``."""
        return {
            "kind": "checkpoint",
            "name": self.name,
            "sha256": self.sha256,
            "device": str(self.device),
            "input_size": self.size,
            "fused_shots": self._fused_shots,
        }


def _probability(margin: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    large = F.interpolate(margin[None, None], size=size, mode="bilinear", align_corners=False)
    probability: NDArray[np.float32] = large[0, 0].sigmoid().numpy()
    return probability
