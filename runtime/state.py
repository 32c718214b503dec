"""What a bundle keeps of the supports of a class: a plain value, saved as one file."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.bundle import Bundle, TensorInfo
from arnet.runtime.errors import UPDATE, StateError
from arnet.runtime.files import atomic_write

FORMAT = "arnet-state"
SCHEMA_VERSION = 1

_DTYPES = ("float32", "float16")
_HEADER = "header"
_SHOT, _CLASS = "shot/", "class/"
_MAX_BYTES = 4 << 30
_MAX_ENTRIES = 128
_LEARN_AGAIN = "Learn the class again with this bundle and save it anew."

Tensors = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class SupportState:
    """What a bundle keeps of k supports of one class. Its arrays cannot be written to.

    Attributes:
        per_shot: tensors (k, ...), by name.
        per_class: tensors (1, ...) that fuse the shots, by name; None while they are not fused.
        bundle: SHA-256 of the bundle that made them; no other one can use them.
    """

    per_shot: Tensors
    per_class: Tensors | None
    bundle: str

    def __post_init__(self) -> None:
        """Protect the arrays.

        Raises:
            StateError: if there are no shots, or tensors differ in their number.
        """
        object.__setattr__(self, "per_shot", _protected(self.per_shot))
        lengths = {array.shape[:1] for array in self.per_shot.values()}
        if len(lengths) != 1 or lengths & {(), (0,)}:
            raise StateError("the tensors of a support state have no common number of shots")
        if self.per_class is not None:
            object.__setattr__(self, "per_class", _protected(self.per_class))
            if any(array.shape[:1] != (1,) for array in self.per_class.values()):
                raise StateError("a fused tensor of a support state is not of one class")

    def __repr__(self) -> str:
        """What it is, without the values."""
        shots = "1 shot" if self.shots == 1 else f"{self.shots} shots"
        fused = "not fused" if self.per_class is None else "fused"
        return f"SupportState({shots}, {fused}, bundle {self.bundle[:12]})"

    @property
    def shots(self) -> int:
        """The number k of supports."""
        return len(next(iter(self.per_shot.values())))

    def add(self, other: SupportState) -> SupportState:
        """Join the supports of this one, then those of the other; they are not fused yet.

        Raises:
            StateError: if they were made by different bundles.
        """
        if other.bundle != self.bundle:
            raise StateError(
                f"a state of the bundle {other.bundle[:12]} cannot be added to one of"
                f" {self.bundle[:12]}",
                "Learn both with the same bundle.",
            )
        if _forms(self.per_shot) != _forms(other.per_shot):
            raise StateError("two support states hold different tensors", _LEARN_AGAIN)
        joined = {n: np.concatenate([a, other.per_shot[n]]) for n, a in self.per_shot.items()}
        return SupportState(joined, None, self.bundle)

    def save(self, path: str | Path) -> None:
        """Write it as an uncompressed .npz, whole or not at all.

        Args:
            path: the file; the name is taken as it is.

        Raises:
            OutputError: if it cannot be written.
        """
        header = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "bundle": self.bundle,
            "fused": self.per_class is not None,
        }
        arrays: dict[str, Any] = {_SHOT + n: array for n, array in self.per_shot.items()}
        arrays |= {_CLASS + name: array for name, array in (self.per_class or {}).items()}
        arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # of plain numbers: nothing is pickled

    @staticmethod
    def load(path: str | Path) -> SupportState:
        """Read what ``save`` wrote.

        Nothing is unpickled, and nothing is unpacked: a file holds at most what its size says.

        Raises:
            StateError: if it is missing or damaged, of another format or of a newer version.
        """
        path = Path(path)
        try:
            arrays = _read(path)
            header = json.loads(arrays.pop(_HEADER).tobytes())
            version, fused, bundle = (header[k] for k in ("schema_version", "fused", "bundle"))
            if header["format"] != FORMAT or type(version) is not int or version < 1:
                raise ValueError("its header is of another format")
            if version > SCHEMA_VERSION:
                raise StateError(
                    f"{path} has schema version {version}; this arnet reads {SCHEMA_VERSION}",
                    UPDATE,
                )
            if type(fused) is not bool or not isinstance(bundle, str) or not bundle.isprintable():
                raise ValueError("its header is malformed")
            per_shot = {k[len(_SHOT) :]: a for k, a in arrays.items() if k.startswith(_SHOT)}
            per_class = {k[len(_CLASS) :]: a for k, a in arrays.items() if k.startswith(_CLASS)}
            if len(per_shot) + len(per_class) < len(arrays) or (per_class and not fused):
                raise ValueError("it holds tensors that do not belong there")
            return SupportState(per_shot, per_class if fused else None, bundle)
        except StateError:
            raise
        except FileNotFoundError:
            raise StateError(
                f"there is no support state {path}",
                "Check its name, or write one with: arnet infer --save-state",
            ) from None
        except Exception as error:  # zipfile, NumPy's header parser and json raise anything
            raise StateError(
                f"{path} is not a readable support state ({error}).", _LEARN_AGAIN
            ) from error


def check_given(states: Collection[object], kind: type, of: str) -> None:
    """Check that there are states to look for, and that a segmenter made them.

    Args:
        states: what was given.
        kind: the type of the segmenter's states.
        of: what the segmenter runs, for the error.

    Raises:
        StateError: there is none, or one is of another type.
    """
    if not states:
        raise StateError("no class was given to look for", "Give one state or more.")
    for state in states:
        if not isinstance(state, kind):
            raise StateError(f"a {type(state).__name__} is no state of a {of}", "Learn it.")


def check_state(state: SupportState, bundle: Bundle) -> None:
    """Check that a state is one that a bundle can use.

    Raises:
        StateError: it is of another bundle, has another number of shots, or other tensors.
    """
    if state.bundle != bundle.sha256:
        raise StateError(
            f"the state was made by the bundle {state.bundle[:12]}; this one is"
            f" {bundle.sha256[:12]}",
            "Learn the class again with this bundle, or open the other one.",
        )
    shots = bundle.manifest.shots
    if shots not in (None, state.shots):
        raise StateError(
            f"the state has {state.shots} shots; this bundle takes exactly {shots}",
            f"Learn with {shots} photographs, or export the bundle for {state.shots}.",
        )
    stages = bundle.manifest.stages
    for stage, tensors in (
        ("encode_support", state.per_shot),
        ("fuse_support", state.per_class),
    ):
        outputs = stages[stage].outputs if stage in stages else ()
        if tensors is not None and not _made_of(tensors, outputs):
            raise StateError(
                f"the state does not hold what the stage '{stage}' of this bundle gives",
                "Learn the class again with this bundle.",
            )


def _made_of(tensors: Tensors, outputs: Sequence[TensorInfo]) -> bool:
    """Whether tensors are outputs of a stage, any number of them joined along the first axis."""
    wanted = {tensor.name: tensor for tensor in outputs}
    return tensors.keys() == wanted.keys() and all(
        array.dtype.name == wanted[name].dtype
        and array.ndim == len(wanted[name].shape)
        and all(
            size == needed or isinstance(needed, str)
            for size, needed in zip(array.shape[1:], wanted[name].shape[1:], strict=True)
        )
        for name, array in tensors.items()
    )


def _forms(tensors: Tensors) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    return {name: (array.dtype, array.shape[1:]) for name, array in tensors.items()}


def _protected(tensors: Tensors) -> Tensors:
    views = {}
    for name, array in tensors.items():
        if array.dtype.name not in _DTYPES:
            raise StateError(f"the tensor {name} of a support state holds {array.dtype}")
        views[name] = np.asarray(array, order="C").view()
        views[name].setflags(write=False)
    return MappingProxyType(views)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise StateError(f"{path} has {size} bytes; a support state has at most {_MAX_BYTES}")
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # Uncompressed and disjoint, so that reading needs no more memory than the file has bytes.
        if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > size:
            raise ValueError("its parts are larger than the whole")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise ValueError(f"{name[:80]!r} is compressed or encrypted")
            if name in arrays:
                raise ValueError(f"{name[:80]!r} is there twice")
            arrays[name] = _array(archive.read(entry), name == _HEADER)
    return arrays


def _array(data: bytes, header: bool) -> NDArray[Any]:
    """Read a .npy of a plain type whose size agrees with its shape."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("it is written in another way")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran or dtype.name not in (("uint8",) if header else _DTYPES) or not dtype.isnative:
        raise ValueError(f"its numbers are {dtype}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"the size of a tensor {shape} is wrong")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)
