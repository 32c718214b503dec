"""What TensorRT built, in its inspector's words, and whether it is what was asked for.

The JSON has two dialects: in 10.x a tensor has one text "Format/Datatype", such as "Row major
linear FP16 format" or "Half", and the inputs and outputs of the plan are called "Bindings"; in 11.x
type and format stand apart and it is "I/O Tensors". Of tensors whose shapes are dynamic it may tell
no type; then weights and the name of the kernel ("TacticName") may.
"""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arnet.export.tensorrt.library import Toolchain, need
from arnet.export.tensorrt.profiles import Profile
from arnet.runtime.engines.complaints import forget, logger_of, made
from arnet.runtime.errors import BuildError

COMPUTED = {
    "fp32": "float32",
    "tf32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
    "fp8": "float8",
}
"""The type that convolutions of each precision are computed from."""

UNKNOWN = "unknown"
_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype")
_TYPES = {
    "fp32": "float32",
    "float": "float32",
    "float32": "float32",
    "fp16": "float16",
    "half": "float16",
    "float16": "float16",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp8": "float8",
    "float8": "float8",
    "int8": "int8",
    "uint8": "uint8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}
_OPERANDS = {
    "f32": "float32",
    "tf32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i8": "int8",
    "e4m3": "float8",
}
# sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_...: what is multiplied stands first.
_KERNEL = re.compile(r"(?:^|_)({0})(?:{0})(?:_|$)".format("|".join(_OPERANDS)))
_ENOUGH = 0.5


@dataclass(frozen=True)
class Layer:
    """One layer of a plan.

    Attributes:
        kind: TensorRT's name of what it does.
        inputs: the types that it reads.
        outputs: the types that it writes.
        computed: the types of its weights and of its kernel, as far as they are told.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    computed: tuple[str, ...] = ()

    @property
    def convolves(self) -> bool:
        """Whether it is named after convolutions."""
        return "conv" in self.kind.lower()

    def has(self, wanted: str) -> bool | None:
        """Whether it computes from a type; None where that is not told."""
        tensors = self.sure(*self.inputs, *self.outputs)
        if wanted in (*tensors, *self.computed):
            return True
        told = self.computed or (tensors and UNKNOWN not in tensors)
        return False if told else None

    def sure(self, *kinds: str) -> tuple[str, ...]:
        """Types as they were told, but for an "INT8 format", which may be that of bool or int64.

        A convolution takes neither.
        """
        doubtful = () if self.convolves else ("int8",)
        return tuple(UNKNOWN if kind in doubtful else kind for kind in kinds)


def inspect(
    tools: Toolchain, plan: bytes, profile: Profile, version_compatible: bool
) -> list[Layer]:
    """Load a plan and ask for its layers, at the usual shapes: without shapes it knows no types.

    Raises:
        BuildError: TensorRT cannot load what it built, or tells less than is needed.
    """
    trt = tools.trt
    forget()  # what it complained of while it built
    runtime = need(made(trt.Runtime, logger_of(trt)), "to make a runtime")
    if version_compatible:
        runtime.engine_host_code_allowed = True  # the plan brings code, which we have just built
    engine = need(runtime.deserialize_cuda_engine(plan), "to load the plan it built")
    # No memory is taken for it: nothing is run.
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    context = need(engine.create_execution_context(strategy), "to make a context")
    for name, (_, usual, _) in profile.items():
        need(context.set_input_shape(name, usual), f"the shape {usual} of {name}")
    inspector = need(engine.create_engine_inspector(), "to make an inspector")
    inspector.execution_context = context  # whether it took it, the bindings do not tell
    need(inspector.execution_context, "to inspect the plan at the usual shapes")
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return layers_of(need(text, "to tell what it built"))


def layers_of(text: str) -> list[Layer]:
    """The layers in the inspector's JSON, of either dialect.

    Raises:
        BuildError: it is something else, or tells no more than names.
    """
    try:
        document = json.loads(text)
        found, ends = document["Layers"], document.get("I/O Tensors", document.get("Bindings"))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unreadable(f"it is no JSON with layers ({error!r})") from error
    if ends is None or not isinstance(found, list):
        raise _unreadable("it has neither 'Bindings' nor 'I/O Tensors'")
    if not all(isinstance(layer, dict) for layer in found):
        raise _unreadable("it names the layers without their types")
    return [
        Layer(
            str(layer.get("LayerType", UNKNOWN)),
            _types(layer, "Inputs"),
            _types(layer, "Outputs"),
            _computed(layer),
        )
        for layer in found
    ]


def census(layers: list[Layer]) -> dict[str, int]:
    """How many layers there are by the type of their first output."""
    counts = Counter(layer.outputs[0] for layer in layers if layer.outputs)
    return dict(sorted(counts.items()))


def check_built(stage: str, precision: str, layers: list[Layer], convolutions: int) -> None:
    """Whether a plan computes in what was asked for.

    Names of layers differ between versions, and several operations become one layer, so that
    convolutions cannot be counted one by one: of the layers that are named after convolutions, half
    must compute from the type; where none is, one layer of all. A plan of float32 may put out
    nothing smaller. Of what TensorRT does not tell there is a warning and no error.

    Args:
        stage: name of the stage, for the error.
        precision: that was asked for.
        layers: of the plan.
        convolutions: how many of its graph are computed from the type of the precision.

    Raises:
        BuildError: it was built otherwise.
    """
    wanted = COMPUTED[precision]
    counts = census(layers)
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
    if wanted == "float32":
        put_out = {kind for layer in layers for kind in layer.sure(*layer.outputs[:1])}
        if smaller := {"float16", "bfloat16", "int8", "float8"} & put_out:
            raise _other(stage, precision, f"layers put out {min(smaller)}", shown)
        return
    if not convolutions:
        return
    named = [layer for layer in layers if layer.convolves]
    asked = named or layers
    enough = _ENOUGH * len(named) if named else 1
    answers = Counter(layer.has(wanted) for layer in asked)
    right, unknown = answers[True], answers[None]
    what = f"{right} of {len(asked)} layers that compute do so from {wanted}"
    if right + unknown < enough:
        raise _other(stage, precision, what, shown)
    if right < enough:
        warnings.warn(
            f"whether the plan of '{stage}' is {precision} is unknown: {what}, and of {unknown}"
            " TensorRT's inspector does not tell",
            stacklevel=2,
        )


def _types(layer: Mapping[str, Any], side: str) -> tuple[str, ...]:
    tensors = layer.get(side) or []
    if not isinstance(tensors, list) or not all(isinstance(item, dict) for item in tensors):
        raise _unreadable(f"'{side}' of a layer is no list of tensors")
    return tuple(_type(tensor) for tensor in tensors)


def _computed(layer: Mapping[str, Any]) -> tuple[str, ...]:
    weights = layer.get("Weights")
    found = [_type(weights, ("Type",))] if isinstance(weights, dict) else []
    if kernel := _KERNEL.search(str(layer.get("TacticName", ""))):
        found.append(_OPERANDS[kernel[1]])
    return tuple(kind for kind in found if kind != UNKNOWN)


def _type(tensor: Mapping[str, Any], keys: tuple[str, ...] = _TYPE_KEYS) -> str:
    """The type in whichever key has it; formats have other words, such as numbers of channels."""
    for key in keys:
        for word in re.findall(r"[a-z]+\d*", str(tensor.get(key, "")).lower()):
            if word in _TYPES:
                return _TYPES[word]
    return UNKNOWN


def _unreadable(why: str) -> BuildError:
    return BuildError(
        f"what TensorRT's inspector tells of the plan cannot be read: {why}",
        "Use a version of TensorRT that is known to work, such as 10.16 or 11.4.",
    )


def _other(stage: str, precision: str, what: str, shown: str) -> BuildError:
    return BuildError(
        f"the plan of '{stage}' is not {precision}: {what} (layers by output: {shown})",
        "Try another version of TensorRT, or another --engine.",
    )
