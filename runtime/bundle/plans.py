"""TensorRT plans of a bundle: what each set of them was built with, and what it can run.

A set holds one plan for each stage that TensorRT runs, all built in one go on one GPU.
``preprocess`` and ``postprocess`` have none: on a GPU they are kernels of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arnet.runtime.bundle.parsing import Entry, file_name

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
"""What plans can compute in."""

HARDWARE = ("none", "same-capability", "ampere-plus")
"""GPUs that a plan runs on: the model it was built on, its capability, Ampere and newer."""

PLANNED_STAGES = ("encode_image", "encode_support", "fuse_support", "encode_query", "decode")
"""The stages that TensorRT runs; a bundle may lack ``fuse_support``."""

Range = tuple[int, int, int]
"""Least, usual and most."""

_MOST = 1 << 12


@dataclass(frozen=True)
class PlanStage:
    """One plan.

    Attributes:
        file: its name in the bundle.
        built: how many layers were built, by the NumPy name of the type of their first output, as
            TensorRT's inspector tells.
    """

    file: str
    built: Mapping[str, int]


@dataclass(frozen=True)
class PlanSet:
    """The plans of one build.

    Attributes:
        precision: one of ``PRECISIONS``.
        tensorrt: its full version, such as "11.4.0.106".
        cuda: version of the CUDA that the driver brings, such as "13.0".
        driver: version of the driver, such as "580.65.06".
        gpu: name of the GPU.
        capability: compute capability of the GPU, such as (9, 0).
        hardware: one of ``HARDWARE``.
        version_compatible: whether newer versions of TensorRT of the same major may run the plans;
            they hold code then, which the runtime has to be allowed to run.
        plugins: op types of the nodes that were built as our kernels; none: plain TensorRT.
        shots: of one class. ``fuse_support`` takes so many prototypes.
        classes: in one call of ``decode``, which takes ``shots`` times ``classes`` shots in all:
            from the product of the least to that of the most.
        stages: by name, of ``PLANNED_STAGES``.
    """

    precision: str
    tensorrt: str
    cuda: str
    driver: str
    gpu: str
    capability: tuple[int, int]
    hardware: str
    version_compatible: bool
    plugins: tuple[str, ...]
    shots: Range
    classes: Range
    stages: Mapping[str, PlanStage]


def plan_set(entry: Entry) -> PlanSet:
    """Read one item of ``plans``, strictly.

    Raises:
        BundleError: if a key is missing, unknown or has a value that cannot be.
    """
    plans = PlanSet(
        precision=entry.one_of("precision", PRECISIONS),
        tensorrt=entry.text("tensorrt"),
        cuda=entry.text("cuda"),
        driver=entry.text("driver"),
        gpu=entry.text("gpu"),
        capability=entry.pair("capability", 0, 100),
        hardware=entry.one_of("hardware", HARDWARE),
        version_compatible=entry.boolean("version_compatible"),
        plugins=entry.texts("plugins", 32),
        shots=_range(entry, "shots"),
        classes=_range(entry, "classes"),
        stages={name: _stage(stage) for name, stage in entry.entries("stages", 32)},
    )
    if not plans.stages or not set(plans.stages) <= set(PLANNED_STAGES):
        raise entry.wrong("stages", list(plans.stages), f"stages of {', '.join(PLANNED_STAGES)}")
    entry.finish()
    return plans


def _stage(entry: Entry) -> PlanStage:
    counts = entry.entry("built")
    stage = PlanStage(
        file_name(entry.text("file"), f"{entry.place}.file"),
        {dtype: counts.integer(dtype, 0, 1 << 30) for dtype in counts.keys},
    )
    entry.finish()
    return stage


def _range(entry: Entry, key: str) -> Range:
    least, usual, most = entry.integers(key, 3, 1, _MOST)
    if not least <= usual <= most:
        raise entry.wrong(key, [least, usual, most], "three rising numbers")
    return least, usual, most
