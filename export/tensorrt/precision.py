"""The graphs that plans are built from, for each precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto

from arnet.export.episodes import RealEpisode
from arnet.export.graphs import BFLOAT16_OPSET, export_stages
from arnet.export.precision import Compute, to_bfloat16, with_float_ends
from arnet.export.stages import Stages
from arnet.export.tensorrt.quantisation import quantise_symmetric

STORED: dict[str, Compute] = {
    "fp32": "fp32",
    "tf32": "fp32",
    "fp16": "fp16",
    "bf16": "fp32",
    "int8": "int8",
    "fp8": "fp16",
}
"""The precision of the graphs in the bundle. ONNX Runtime runs neither bf16 nor fp8: there they
are what the others are made of, with the same inputs and outputs."""


def graphs_for(
    precision: str,
    models: Mapping[str, ModelProto],
    stages: Stages,
    episodes: Sequence[RealEpisode],
    custom_operators: bool,
) -> Mapping[str, ModelProto]:
    """The graphs to build plans of.

    Args:
        precision: of the plans.
        models: the graphs in the bundle, of the precision that ``STORED`` says.
        stages: the factorised model that they are of, in float32.
        episodes: real ones, from which ranges are learnt.
        custom_operators: whether our own operations stand in the graphs by name.
    """
    if precision == "bf16":
        narrow = export_stages(to_bfloat16(stages), custom_operators, BFLOAT16_OPSET)
        return {name: with_float_ends(model) for name, model in narrow.items()}
    if precision == "fp8":
        return quantise_symmetric(models, stages, episodes, precision)
    return models
