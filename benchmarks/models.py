"""The models that are measured, and what a query is for each contender."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from arnet.config import BackboneConfig, ModelConfig
from arnet.export.acceleration import Preparation, labels
from arnet.export.replay import Graphs, Replay, Step
from arnet.export.stages import Stages, factorise
from arnet.export.torch_kernels import Options, TorchKernels
from arnet.modeling import ARNet

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "weights" / "arnet-r18.safetensors"
EXAMPLES = ROOT / "examples"
SHOTS = 5
PHOTOGRAPHS = 4


class Task:
    """Supports and queries of noise, and a ResNet-50 with random weights: speed needs no more.

    Attributes:
        size: side of the photographs and of what the model takes, in pixels.
        device: where it runs.
        images: the supports, uint8 (H, W, 3), and their ``masks``.
        queries: photographs to segment.
        model: in float32, on the processor, as sure of its answers as a trained one.
    """

    def __init__(self, device: torch.device, small: bool = False) -> None:
        self.size, self.device = (65 if small else 473), device
        self._stages: Stages | None = None
        rng = np.random.default_rng(0)
        shape = (self.size, self.size)

        def noise() -> NDArray[np.uint8]:
            low = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)  # of places that differ
            return np.ascontiguousarray(
                np.kron(low, np.ones((56, 56, 1), np.uint8))[: shape[0], : shape[1]]
            )

        rows, columns = np.mgrid[: self.size, : self.size]
        centre = self.size // 2
        disc = np.hypot(rows - centre, columns - centre) < self.size / 3
        self.images = [noise() for _ in range(SHOTS)]
        self.masks = [disc.astype(np.uint8) for _ in range(SHOTS)]
        self.queries = [noise() for _ in range(PHOTOGRAPHS)]
        torch.manual_seed(0)
        backbone = BackboneConfig(name="resnet18" if small else "resnet50")
        self.model = ARNet(ModelConfig(backbone=backbone, channels=16 if small else 256)).eval()
        with torch.no_grad():
            self._settle()

    def _settle(self) -> None:
        """Give random weights activations that half precision holds, and margins about 0."""
        for block in self.model.backbone.modules():
            last = getattr(block, "bn3", getattr(block, "bn2", None))
            if isinstance(last, nn.BatchNorm2d):
                last.weight.fill_(0.2)
        classify: Any = self.model.mrm.aspp.classify
        classify.weight.mul_(100)
        self.model.to(self.device)
        margins = self.drawn(self.model, torch.float32)({"image": self._on_device(self.queries[0])})
        found = margins["margins"].float()
        scale = 2 / float(found.std())
        classify.bias[1] -= float(found.median())
        classify.weight.mul_(scale)
        classify.bias.mul_(scale)
        self.model.cpu()

    def _on_device(self, array: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def half(self) -> ARNet:
        """The model as drawn in half precision; the fusion of the shots takes float32 vectors."""
        import copy

        model = copy.deepcopy(self.model).half().to(self.device)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if model.cmm is not None:
            model.cmm.float()
        return model

    @torch.inference_mode()
    def drawn(
        self,
        model: ARNet,
        dtype: torch.dtype,
        cached: bool = True,
        compiled: Callable[[Any], Any] = lambda function: function,
    ) -> Step:
        """A query by the model as drawn, from "image" to "margins" and "labels".

        Args:
            model: on the device.
            dtype: of its weights.
            cached: whether the supports' features are kept; else they are computed anew.
            compiled: torch.compile, or nothing.
        """
        prepare = Preparation(self.size, dtype, kernel=False).to(self.device)
        pixels = torch.cat([prepare(self._on_device(image)) for image in self.images])
        guides = torch.stack([self._on_device(mask).float() for mask in self.masks])
        state = model.encode_support(pixels, guides) if cached else None

        def margins(image: Tensor) -> Tensor:
            known = model.encode_support(pixels, guides) if state is None else state
            logits = model.segment(image, {"": known})[""].q2
            return (logits[:, 1] - logits[:, 0]).float()

        run = compiled(margins)
        shape = (self.size, self.size)

        def step(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            found = run(prepare(tensors["image"]))
            return {"margins": found, "labels": labels(found, shape, kernel=False)}

        return step

    def replay(self, step: Step, graphs: Graphs = "none", tf32: bool = False) -> Replay:
        """A query by one step."""
        steps = [("query", step)]
        return Replay(steps, ["labels"], self.queries[0], self.device, graphs, tf32)

    def ours(self, options: Options) -> Replay:
        """A query by the stages with our kernels."""
        if self._stages is None:
            self._stages = factorise(self.model, self.size)
        segmenter = TorchKernels(self._stages, self.size, str(self.device), options)
        state = segmenter.learn(self.images, self.masks)
        steps = segmenter.steps([state], (self.size, self.size))
        return Replay(steps, ["labels"], self.queries[0], self.device, options.graphs)
