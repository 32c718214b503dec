"""Writing a bundle: the files, the manifest last, and its own name only when it is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import onnx
from onnx import ModelProto, ValueInfoProto, helper

from arnet.runtime.bundle import FORMAT, MANIFEST, FileInfo, Manifest, Stage, TensorInfo
from arnet.runtime.errors import OutputError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

ZIP = ".zip"
_LOCK, _REPLACED = "export.lock", "replaced"
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the same bundle gives the same bytes


def interface(name: str, model: ModelProto) -> Stage:
    """What the manifest says of a stage."""
    return Stage(
        file_name(name),
        tuple(_tensor(value) for value in model.graph.input),
        tuple(_tensor(value) for value in model.graph.output),
    )


def file_name(stage: str) -> str:
    """Name of the file of a stage."""
    return f"{stage}.onnx"


def files_of(contents: Mapping[str, bytes]) -> dict[str, FileInfo]:
    """Hash and size of every file."""
    return {
        name: FileInfo(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in contents.items()
    }


def write_files(folder: Path, contents: Mapping[str, bytes], manifest: Manifest) -> None:
    """Write the files of a bundle into a folder, the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(manifest.to_json())


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to build a bundle in; whatever happens, it is gone afterwards.

    If the process is killed, the next export to that place removes it.

    Raises:
        OutputError: the place cannot be written to.
    """
    temporary = out.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        try:
            _sweep(out.parent)
            temporary.mkdir(parents=True)
            with _claimed(temporary):
                yield temporary / (out.name.removesuffix(ZIP) or "bundle")
        except OSError as error:
            raise OutputError(
                f"{out} could not be written: {error.strerror or error}",
                "check that the folder can be written to and that the disk has space",
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(built: Path, out: Path) -> None:
    """Give a built folder its name; one that is there is replaced. A name in .zip gives a zip."""
    if out.suffix == ZIP:
        archive = built.with_name("archive.zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for path in sorted(built.iterdir()):
                file.writestr(zipfile.ZipInfo(path.name, _MOMENT), path.read_bytes())
        archive.replace(out)
        return
    old = built.with_name(_REPLACED)
    try:
        if out.exists():
            out.rename(old)
        built.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)  # the one that was there stays
        raise


def check_place(out: Path, overwrite: bool) -> None:
    """Whether a bundle may be written there.

    Raises:
        OutputError: something is there that is no bundle, or a bundle that is to be kept, or a
            folder that holds more than one.
    """
    if not out.exists() and not out.is_symlink():
        return
    known = _files_there(out)
    if out.is_dir() == (out.suffix == ZIP) or known is None:
        raise OutputError(f"{out} exists and is no bundle", "choose another --out")
    if not overwrite:
        raise OutputError(f"{out} exists", "add --overwrite to replace it, or choose another --out")
    more = (
        sorted(path.name for path in out.iterdir() if path.name not in known)
        if out.is_dir()
        else []
    )
    if more:
        named = ", ".join(more[:3]) + (f" and {len(more) - 3} more" if len(more) > 3 else "")
        raise OutputError(
            f"{out} holds what is not of its bundle and would go with it: {named}",
            "put that elsewhere, or choose another --out",
        )


def _files_there(path: Path) -> set[str] | None:
    """Names of the files of a bundle, be it damaged; None for what is none.

    Other things have a manifest, too.
    """
    try:
        if path.is_dir():
            data = (path / MANIFEST).read_bytes()
        else:
            with zipfile.ZipFile(path) as file:
                data = file.read(MANIFEST)
        manifest = json.loads(data)
        return {MANIFEST, *manifest.get("files", ())} if manifest["format"] == FORMAT else None
    except (OSError, AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return None


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a lock in a folder, which ends with the process, however that ends."""
    if fcntl is None:
        yield
        return
    fresh = folder / f"{_LOCK}.new"
    with fresh.open("wb") as lock:
        with suppress(OSError):  # a file system without locks: nobody sweeps up there
            fcntl.flock(lock, fcntl.LOCK_EX)
            fresh.rename(folder / _LOCK)  # under this name it is locked, or nobody's
        yield


def _sweep(place: Path) -> None:
    """Remove what exports left there whose process was killed.

    That is a folder with a lock that nobody holds; but not while it has a bundle that was to be
    replaced, of which there may be no other.
    """
    if fcntl is None:
        return
    for path in place.glob(".*.tmp"):
        with suppress(OSError), (path / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (path / _REPLACED).exists():
                shutil.rmtree(path, ignore_errors=True)


def _tensor(value: ValueInfoProto) -> TensorInfo:
    kind = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = tuple(size.dim_param or size.dim_value for size in kind.shape.dim)
    return TensorInfo(value.name, str(dtype), shape)


def serialised(models: Mapping[str, ModelProto]) -> dict[str, bytes]:
    """The files of the stages by name."""
    return {
        file_name(name): onnx.ModelProto.SerializeToString(model, deterministic=True)
        for name, model in models.items()
    }
