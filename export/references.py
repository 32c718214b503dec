"""What a bundle is measured against: the same model by other means.

    torch                   the model in torch, eager
    compile                 the same with torch.compile
    onnx-whole              the model as drawn in the paper, one graph from photographs to masks
    onnx-cached             the same, cut after the supports' features, which are kept
    torch-kernels           the factorised stages in torch, with our kernels
    torch-kernels-compiled  the same, the stages of a query by torch.compile

The last two compute in the precision of their options, all others in float32. They share the
preparation of photographs with the bundle.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from arnet.checkpoint import Checkpoint, load_checkpoint
from arnet.export.graphs import Input, postprocess_graph, preprocess_graph, to_onnx
from arnet.export.resampling import Averaging
from arnet.export.torch_kernels import Options, TorchKernels
from arnet.modeling import ARNet, Prediction, SupportFeatures
from arnet.modeling.layers import masked_pool
from arnet.modeling.prior import prior_features
from arnet.runtime.errors import ConfigError
from arnet.runtime.segmentation import ClassMasks, FewShotSegmenter, Segmentation
from arnet.runtime.tensors import check_supports, resize_nearest, sigmoid
from arnet.segmenter import TorchSegmenter

STAGED = ("torch-kernels", "torch-kernels-compiled")
"""The factorised stages with our kernels, as they are and by torch.compile."""
NAMES = ("torch", "compile", "onnx-whole", "onnx-cached", *STAGED)


def contender(
    name: str,
    checkpoint: Path,
    size: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    options: Options | None = None,
) -> FewShotSegmenter[Any]:
    """One of the references.

    Args:
        name: one of ``NAMES``.
        checkpoint: the trained model.
        size: side of the square image; None is that of the training.
        threads: processor threads; None for one per core.
        device: where those in torch compute, "cpu" or "cuda"; the others do on the processor.
        options: of those in ``STAGED``; None for the usual ones.

    Raises:
        CheckpointError: it cannot be read.
        ConfigError: there is no such reference or device.
    """
    if name not in NAMES:
        raise ConfigError(f"there is no reference '{name}'", f"they are {', '.join(NAMES)}")
    loaded = load_checkpoint(checkpoint)
    left_out = sorted({"mpm1", "mpm2"} & set(loaded.config.model.without))
    if left_out and name.startswith("onnx"):
        raise ConfigError(
            f"{name} needs q1, s and q2; this model is without {' and '.join(left_out)}",
            "compare with torch",
        )
    if name in ("torch", "compile", *STAGED) and threads:
        torch.set_num_threads(threads)
    if name in STAGED:
        size, options = size or loaded.config.data.image_size, options or Options()
        if name == "torch-kernels-compiled":
            options = replace(options, compiled="inductor")
        return TorchKernels(loaded.model, size, device, options)
    if name in ("torch", "compile"):
        segmenter = TorchSegmenter(loaded, f"{name} {checkpoint.name}", device, size)
        if name == "compile":
            model: Any = segmenter.model
            model.backbone.forward = torch.compile(model.backbone.forward)
            model.decode = torch.compile(model.decode)
        return segmenter
    return DrawnSegmenter(loaded, size, threads, cached=name == "onnx-cached")


class DrawnSegmenter:
    """The model as drawn, in ONNX Runtime; a graph for every number of shots, made when needed.

    Attributes:
        caches_support: whether the supports' features are kept; else a state is their photographs.
    """

    def __init__(
        self, checkpoint: Checkpoint, size: int | None, threads: int | None, cached: bool
    ) -> None:
        self.model = checkpoint.model
        self.size = size or checkpoint.config.data.image_size
        self.threads = threads
        self.caches_support = cached
        grid = self.model.backbone(torch.zeros(1, 3, self.size, self.size)).shape[-2:]
        self.grid = (int(grid[0]), int(grid[1]))
        self._sessions: dict[object, onnxruntime.InferenceSession] = {}
        self._pre = self._open(preprocess_graph(self.size))
        self._post = self._open(postprocess_graph(self.grid))

    def learn(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> dict[str, NDArray[np.float32]]:
        """The state: prepared photographs and masks, or their features."""
        check_supports(images, masks, self.size)
        pixels = np.concatenate([self._pixels(image) for image in images])
        guides = np.stack([resize_nearest(mask == 1, self.size) for mask in masks])
        state = {"images": pixels, "masks": guides.astype(np.float32)}
        if not self.caches_support:
            return state
        outputs = ["features", "small", "vectors", *["prior"] * bool(self.model.config.prior)]
        session = self._session(
            "support", len(images), DrawnSupport(self.model, self.size, self.grid), state, outputs
        )
        return dict(zip(outputs, session.run(outputs, state), strict=True))

    def segment(
        self,
        image: NDArray[np.uint8],
        states: Mapping[str, dict[str, NDArray[np.float32]]],
        *,
        parts: bool = True,
    ) -> Segmentation:
        """One run of the graph for each class; it gives all three masks, wanted or not."""
        started = time.perf_counter()
        pixels = self._pixels(image)
        seconds = {"preprocess": time.perf_counter() - started}
        classes = {}
        part: nn.Module = (
            DrawnQuery(self.model)
            if self.caches_support
            else DrawnEpisode(self.model, self.size, self.grid)
        )
        outputs = ["margins", "first", "supports"]
        for name, state in states.items():
            feeds = {"pixels": pixels, **state}
            shots = len(next(iter(state.values())))
            session = self._session("query", shots, part, feeds, outputs)
            began = time.perf_counter()
            margins, first, supports = session.run(outputs, feeds)
            decoded = time.perf_counter()
            sizes = np.array(image.shape[:2], np.int64)
            large = [
                self._post.run(None, {"margins": maps, "size": sizes})[0][0]
                for maps in (margins, first)
            ]
            classes[name] = ClassMasks(large[0], large[1], sigmoid(supports))
            ended = time.perf_counter()
            for step, spent in (("model", decoded - began), ("postprocess", ended - decoded)):
                seconds[step] = seconds.get(step, 0.0) + spent
        return Segmentation(classes, seconds)

    def describe(self) -> dict[str, Any]:
        """What it is, for a report."""
        return {
            "kind": "onnx-cached" if self.caches_support else "onnx-whole",
            "engine": "onnx",
            "engine_version": f"onnxruntime {onnxruntime.__version__}",
            "device": "cpu",
            "threads": self.threads or "one per core",
            "input_size": self.size,
        }

    def _pixels(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels: NDArray[np.float32] = self._pre.run(None, {"image": image})[0]
        return pixels

    def _session(
        self,
        part: str,
        shots: int,
        module: nn.Module,
        feeds: Mapping[str, NDArray[np.float32]],
        outputs: Sequence[str],
    ) -> onnxruntime.InferenceSession:
        key = (part, shots)
        if key not in self._sessions:
            inputs = [Input(name, torch.from_numpy(value), {}) for name, value in feeds.items()]
            self._sessions[key] = self._open(to_onnx(module.eval(), inputs, outputs, False))
        return self._sessions[key]

    def _open(self, model: Any) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self.threads:
            options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


class DrawnSupport(nn.Module):
    """(k, 3, S, S) pixels and (k, S, S) masks to F_s, M_s and V_s, as drawn."""

    def __init__(self, model: ARNet, size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.average = model, Averaging(size, grid).float()

    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        """Features (k, C, h, w), masks (k, 1, h, w), vectors (k, C) and, if any, the prior's."""
        maps = self.model.backbone(images)
        features, deep = self.model.reduction(maps), self.model.deepest(maps)
        small = self.average(masks)
        kept = features, small, masked_pool(features, small, self.model.config.pooling)
        return kept if deep is None else (*kept, prior_features(deep, small))


class DrawnQuery(nn.Module):
    """The query against kept features, as drawn."""

    def __init__(self, model: ARNet) -> None:
        super().__init__()
        self.model = model

    # By name: torch.export knows no shapes of arguments without one.
    def forward(
        self,
        pixels: Tensor,
        features: Tensor,
        small: Tensor,
        vectors: Tensor,
        prior: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Margins of q2 (1, h, w), q1 (1, h, w) and s (k, h, w)."""
        kept = (features, small, vectors) if prior is None else (features, small, vectors, prior)
        state = SupportFeatures(*(tensor[None] for tensor in kept))
        query = self.model.encode_query(self.model.backbone(pixels))
        return _margins(self.model.decode(query, state))


class DrawnEpisode(nn.Module):
    """Everything in one graph, as drawn."""

    def __init__(self, model: ARNet, size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.support, self.query = DrawnSupport(model, size, grid), DrawnQuery(model)

    def forward(self, pixels: Tensor, images: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        """Margins as ``DrawnQuery`` gives them."""
        margins: tuple[Tensor, ...] = self.query(pixels, *self.support(images, masks))
        return margins


def _margins(prediction: Prediction) -> tuple[Tensor, ...]:
    def margin(logits: Tensor) -> Tensor:
        return logits[..., 1, :, :] - logits[..., 0, :, :]

    assert prediction.q1 is not None and prediction.s is not None
    q1 = margin(prediction.q1).mean(dim=1)
    return margin(prediction.q2), q1, margin(prediction.s)[0]
