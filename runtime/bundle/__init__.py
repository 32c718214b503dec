"""A bundle: the files of an exported model, its manifest, and how it is opened."""

from __future__ import annotations

from arnet.runtime.bundle.manifest import (
    DTYPES,
    FORMAT,
    MANIFEST,
    MAX_BYTES,
    SCHEMA_VERSION,
    CheckpointInfo,
    FileInfo,
    Manifest,
    Precision,
    Preprocessing,
    Stage,
    TensorInfo,
)
from arnet.runtime.bundle.plans import PlanSet, PlanStage
from arnet.runtime.bundle.reader import Bundle

__all__ = [
    "DTYPES",
    "FORMAT",
    "MANIFEST",
    "MAX_BYTES",
    "SCHEMA_VERSION",
    "Bundle",
    "CheckpointInfo",
    "FileInfo",
    "Manifest",
    "PlanSet",
    "PlanStage",
    "Precision",
    "Preprocessing",
    "Stage",
    "TensorInfo",
]
