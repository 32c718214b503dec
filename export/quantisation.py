"""int8: static quantisation by ONNX Runtime, calibrated on real episodes.

Convolutions are quantised, weights per channel, activations per tensor, as QDQ nodes around them;
TensorRT takes another form, see ``arnet.export.tensorrt.quantisation``. The rest stays in floating
point, and so do the convolutions that are sensitive: the first of the backbone, which sees pixels,
and those that give margins and gates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor

from arnet.export.episodes import RealEpisode, walk
from arnet.export.graphs import checked
from arnet.export.stages import Stages

CALIBRATION_EPISODES = 32
QUANTISED = ("encode_image", "encode_query", "decode")
Feeds = dict[str, NDArray[np.float32]]


def quantise(
    models: Mapping[str, ModelProto], stages: Stages, episodes: Sequence[RealEpisode]
) -> dict[str, ModelProto]:
    """The same stages with quantised convolutions.

    Args:
        models: in float32.
        stages: the factorised model that they are of.
        episodes: real ones, from which the ranges of the activations are learnt.
    """
    feeds = calibration_feeds(stages, episodes[:CALIBRATION_EPISODES])
    return {
        name: _quantised(model, feeds[name]) if name in QUANTISED else model
        for name, model in models.items()
    }


def calibration_feeds(stages: Stages, episodes: Sequence[RealEpisode]) -> dict[str, list[Feeds]]:
    """What each stage is fed in some episodes."""
    feeds: dict[str, list[Feeds]] = {name: [] for name in stages.modules}

    def keep(stage: str, given: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        if stage in feeds:
            feeds[stage].append({name: value.numpy() for name, value in given.items()})

    for episode in episodes:
        walk(stages, episode, keep)
    return feeds


def _quantised(model: ModelProto, feeds: Sequence[Feeds]) -> ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=sensitive(model),
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        return checked(onnx.load(target))


def sensitive(model: ModelProto) -> list[str]:
    """Names of the convolutions that stay in floating point."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    few = 9  # channels in (pixels, summaries) or out (margins, as one or as nine products)
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and min(initializers[node.input[1]].dims[:2]) <= few
    ]


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self.feeds: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.feeds, None)
