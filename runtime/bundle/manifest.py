"""``manifest.json``: what a bundle holds, as typed values.

Export builds a :class:`Manifest` and writes ``to_json``; the runtime reads it with ``from_json``.
Field names are the keys of the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from arnet.runtime.bundle.parsing import Entry, file_name, parse_json
from arnet.runtime.bundle.plans import PlanSet, plan_set
from arnet.runtime.errors import UPDATE, BundleError

FORMAT = "arnet-bundle"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
"""Name of the manifest inside a bundle."""

DTYPES = ("float32", "float16", "int64", "int32", "uint8", "int8", "bool")
"""Element types of tensors, by their NumPy names."""

MAX_BYTES = 4 << 30
"""Size in bytes that all files of a bundle may have together."""

_MAX_FILES = 256
_MAX_SIDE = 1 << 14
_MAX_DIMENSION = 1 << 24
_MAX_VERSION = 1 << 20
_HEX = frozenset("0123456789abcdef")
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a stage.

    Attributes:
        name: as in the ONNX graph.
        dtype: one of ``DTYPES``.
        shape: sizes; a text is a dynamic dimension, and equal texts mean equal sizes.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Stage:
    """One ONNX graph of the bundle and its interface.

    Attributes:
        file: its name in the bundle.
        inputs: in the order of the graph.
        outputs: in the order of the graph.
    """

    file: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class CheckpointInfo:
    """The checkpoint a bundle was made from."""

    name: str
    sha256: str


@dataclass(frozen=True)
class FileInfo:
    """SHA-256 in hexadecimal and size in bytes of a file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Preprocessing:
    """How the ``preprocess`` stage prepares a photograph, and how masks are resized.

    Attributes:
        mean: of red, green and blue, in units of the full range (0..1).
        std: likewise.
        channels: their order, "RGB".
        resize: interpolation of photographs, "bilinear".
        antialias: whether a reduction averages over all pixels it drops.
        half_pixel: whether pixel centres, not corners, are mapped onto each other.
        mask_resize: interpolation of masks, "nearest", which the runtime does itself.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str = "RGB"
    resize: str = "bilinear"
    antialias: bool = True
    half_pixel: bool = True
    mask_resize: str = "nearest"


@dataclass(frozen=True)
class Precision:
    """What precision was asked for and what was built.

    Attributes:
        requested: such as "fp32".
        built: for each stage the number of nodes by the type of their output.
        weights: type the weights are stored in, such as "fp32".
    """

    requested: str
    built: Mapping[str, Mapping[str, int]]
    weights: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        producer: program and version that made it, such as "arnet 0.1.0".
        name: of the bundle.
        checkpoint: what it was made from.
        image_size: side S in pixels of the model's square image.
        feature_size: (h, w) of the features.
        preprocessing: how photographs and masks are prepared.
        precision: asked for and built.
        custom_operators: whether the graphs hold functions that an engine may have kernels for.
        opset: version of the ONNX operators.
        classes_together: whether ``decode`` takes several classes in one call.
        shots: the number of shots per class that ``decode`` needs; None for any.
        stages: by name.
        files: every file of the bundle but the manifest, by name.
        parity: comparison with the model it was made from, free JSON; None if there was none.
        plans: the sets of TensorRT plans; none of them in most bundles, and then no such key.
        fused_shots: how many shots, the last ones, ``fuse_support`` sees; None, and no such key, if
            all, or if the bundle is from before there was one.
    """

    producer: str
    name: str
    checkpoint: CheckpointInfo
    image_size: int
    feature_size: tuple[int, int]
    preprocessing: Preprocessing
    precision: Precision
    custom_operators: bool
    opset: int
    classes_together: bool
    shots: int | None
    stages: Mapping[str, Stage]
    files: Mapping[str, FileInfo]
    parity: Mapping[str, Any] | None = None
    plans: tuple[PlanSet, ...] = ()
    fused_shots: int | None = None

    def to_json(self) -> bytes:
        """The content of ``manifest.json``, UTF-8.

        Raises:
            ValueError: if a number is not finite.
        """
        document = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(self)}
        if not self.plans:
            del document["plans"]  # the form from before there were any
        if self.fused_shots is None:
            del document["fused_shots"]
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode()

    @staticmethod
    def from_json(data: bytes) -> Manifest:
        """Read the content of ``manifest.json``, strictly.

        Raises:
            BundleError: if it is not JSON, is of a newer schema, or a key is missing, unknown or
                has a value that cannot be.
        """
        root = Entry.root(parse_json(data, MANIFEST), MANIFEST)
        root.one_of("format", (FORMAT,))
        version = root.integer("schema_version", 1, _MAX_VERSION)
        if version > SCHEMA_VERSION:
            raise BundleError(
                f"the bundle has schema version {version}; this arnet reads {SCHEMA_VERSION}",
                UPDATE,
            )
        manifest = Manifest(
            producer=root.text("producer"),
            name=root.text("name"),
            checkpoint=_checkpoint(root.entry("checkpoint")),
            image_size=root.integer("image_size", 1, _MAX_SIDE),
            feature_size=root.pair("feature_size", 1, _MAX_SIDE),
            preprocessing=_preprocessing(root.entry("preprocessing")),
            precision=_precision(root.entry("precision")),
            custom_operators=root.boolean("custom_operators"),
            opset=root.integer("opset", 1, 1000),
            classes_together=root.boolean("classes_together"),
            shots=root.optional_integer("shots", 1, 1000),
            stages={name: _stage(entry) for name, entry in root.entries("stages", 32)},
            files={
                file_name(name, f"the key of {entry.place}"): _file(entry)
                for name, entry in root.entries("files", _MAX_FILES)
            },
            parity=root.optional_object("parity"),
            plans=tuple(map(plan_set, root.items("plans", 32) if "plans" in root.keys else ())),
            fused_shots=root.integer("fused_shots", 1, 1000)
            if "fused_shots" in root.keys
            else None,
        )
        root.finish()
        _check_files(manifest)
        return manifest


def _checkpoint(entry: Entry) -> CheckpointInfo:
    checkpoint = CheckpointInfo(entry.text("name"), _sha256(entry))
    entry.finish()
    return checkpoint


def _file(entry: Entry) -> FileInfo:
    info = FileInfo(_sha256(entry), entry.integer("bytes", 0, MAX_BYTES))
    entry.finish()
    return info


def _preprocessing(entry: Entry) -> Preprocessing:
    mean = entry.numbers("mean", 3)
    std = entry.numbers("std", 3)
    if min(std) <= 0:
        raise entry.wrong("std", std, "positive numbers")
    preprocessing = Preprocessing(
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        channels=entry.one_of("channels", ("RGB",)),
        resize=entry.one_of("resize", ("bilinear",)),
        antialias=entry.boolean("antialias"),
        half_pixel=entry.boolean("half_pixel"),
        mask_resize=entry.one_of("mask_resize", ("nearest",)),
    )
    entry.finish()
    return preprocessing


def _precision(entry: Entry) -> Precision:
    built = {
        stage: {dtype: counts.integer(dtype, 0, 1 << 30) for dtype in counts.keys}
        for stage, counts in entry.entries("built", 32)
    }
    precision = Precision(entry.text("requested"), built, entry.text("weights"))
    entry.finish()
    return precision


def _stage(entry: Entry) -> Stage:
    stage = Stage(
        file=file_name(entry.text("file"), f"{entry.place}.file"),
        inputs=_tensors(entry, "inputs"),
        outputs=_tensors(entry, "outputs"),
    )
    entry.finish()
    return stage


def _tensors(stage: Entry, key: str) -> tuple[TensorInfo, ...]:
    tensors = []
    for entry in stage.items(key, 64):
        name, dtype = entry.text("name"), entry.one_of("dtype", DTYPES)
        tensors.append(TensorInfo(name, dtype, entry.shape("shape", 8, _MAX_DIMENSION)))
        entry.finish()
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise stage.wrong(key, [tensor.name for tensor in tensors], "different names")
    return tuple(tensors)


def _sha256(entry: Entry) -> str:
    digest = entry.text("sha256")
    if len(digest) != _SHA256_DIGITS or not set(digest) <= _HEX:
        raise entry.wrong("sha256", digest, "64 hexadecimal digits")
    return digest


def _check_files(manifest: Manifest) -> None:
    if MANIFEST in manifest.files:
        raise BundleError(f"{MANIFEST} lists itself under 'files'", "Export the bundle again.")
    total = sum(info.bytes for info in manifest.files.values())
    if total > MAX_BYTES:
        raise BundleError(
            f"{MANIFEST}: the files have {total} bytes together; at most {MAX_BYTES} are read",
            "Do not use this bundle; export it again.",
        )
    places = [(name, stage.file) for name, stage in manifest.stages.items()]
    for plans in manifest.plans:
        if strange := [name for name in plans.stages if name not in manifest.stages]:
            message = f"{MANIFEST}: there is a plan of '{strange[0]}', which 'stages' does not have"
            raise BundleError(message, "Export the bundle again.")
        places += [(name, stage.file) for name, stage in plans.stages.items()]
    for name, file in places:
        if file not in manifest.files:
            raise BundleError(
                f"{MANIFEST}: the stage '{name}' is in {file}, which 'files' does not list",
                "Export the bundle again.",
            )
