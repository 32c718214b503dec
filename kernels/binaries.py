"""The best code there is for a GPU: prepared by the user, compiled here, or shipped with us.

A folder of prepared code holds ``<source>.<architecture>.ptx`` or ``.cubin`` and ``index.json``,
which says what each was made of. ``prebuilt/`` is one; ``$ARNET_KERNELS`` may name another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arnet.kernels.cache import cached, write
from arnet.kernels.catalogue import SOURCES
from arnet.kernels.compile import check_architecture, compile_source, fingerprint, version
from arnet.kernels.errors import KernelError

PREBUILT = Path(__file__).parent / "prebuilt"
PREBUILT_ARCHITECTURES = ("compute_75", "compute_80")
INDEX = "index.json"


@dataclass(frozen=True)
class Binary:
    """Code for a GPU.

    Attributes:
        architecture: such as ``sm_90`` (code is a cubin) or ``compute_80`` (PTX).
        code: what the driver loads.
    """

    architecture: str
    code: bytes

    @property
    def is_ptx(self) -> bool:
        """Whether the driver has to translate it."""
        return self.architecture.startswith("compute_")


def binary(source: str, capability: tuple[int, int]) -> Binary:
    """Code of a source that runs on a GPU of a compute capability.

    In this order: from ``$ARNET_KERNELS``, compiled for exactly this GPU and kept in the cache, and
    the PTX that is shipped.

    Raises:
        KernelError: if there is none, with the reason why it could not be compiled.
    """
    given = os.environ.get("ARNET_KERNELS")
    if given and (found := prepared(Path(given), source, capability)):
        return found
    architecture = f"sm_{capability[0]}{capability[1]}"
    try:
        return Binary(architecture, compiled(source, architecture))
    except KernelError as error:
        if found := prepared(PREBUILT, source, capability):
            return found
        raise KernelError(
            f"there is no code of {source} for {architecture}: {error.message}", error.hint
        ) from error


def compiled(source: str, architecture: str) -> bytes:
    """Code compiled for an architecture, from the cache if it is there.

    Raises:
        KernelError: if it cannot be compiled.
    """
    return cached(
        f"{source}-{architecture}",
        (fingerprint(source), version()),
        lambda: compile_source(source, architecture).code,
    )


def build(
    architectures: Sequence[str], folder: Path, progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Compile all sources into a folder of prepared code, which may hold others already.

    Args:
        architectures: such as ``sm_90`` or ``compute_80``.
        folder: where to.
        progress: called with the name of each file when it has been compiled.

    Raises:
        KernelError: if one cannot be compiled or the folder not be written.
    """
    for architecture in architectures:
        check_architecture(architecture)
    index = _index(folder)
    files = []
    try:
        for architecture in architectures:
            for source in SOURCES:
                code = compile_source(source, architecture).code
                path = folder / _name(source, architecture)
                write(path, code)
                index[path.name] = {
                    "made_of": fingerprint(source),
                    "compiler": f"NVRTC {version()}",
                    "sha256": hashlib.sha256(code).hexdigest(),
                }
                files.append(path)
                progress(path.name)
        text = json.dumps(dict(sorted(index.items())), indent=2) + "\n"
        write(folder / INDEX, text.encode())
    except OSError as error:
        raise KernelError(
            f"{error.filename or folder} could not be written: {error.strerror}.",
            "Check that the folder can be written to and that the disk has space.",
        ) from error
    return files


def prepared(folder: Path, source: str, capability: tuple[int, int]) -> Binary | None:
    """The newest code in a folder that runs on a GPU; none where there is none.

    A cubin runs on its own generation from its minor version on, PTX on everything newer.

    Raises:
        KernelError: if it is damaged or made of another version of the source.
    """
    index = _index(folder)
    number = capability[0] * 10 + capability[1]
    best: tuple[bool, int] | None = None
    for name in index:
        stem, _, rest = name.partition(".")
        cubin, built_for = check_architecture(rest.partition(".")[0])
        fits = built_for <= number and (not cubin or built_for // 10 == capability[0])
        if stem == source and fits:
            best = max(best or (cubin, built_for), (cubin, built_for))
    if best is None:
        return None
    architecture = f"{'sm' if best[0] else 'compute'}_{best[1]}"
    name = _name(source, architecture)
    try:
        code = (folder / name).read_bytes()
    except OSError as error:
        raise KernelError(f"{folder / name}: {error.strerror}.", _again(folder)) from error
    if hashlib.sha256(code).hexdigest() != index[name]["sha256"]:
        raise KernelError(f"{folder / name} is not what {INDEX} says.", _again(folder))
    if index[name]["made_of"] != fingerprint(source):
        raise KernelError(
            f"{folder / name} was made of another version of {source}.cu.", _again(folder)
        )
    return Binary(architecture, code)


def _index(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        index: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
        for name, entry in index.items():
            check_architecture(name.split(".")[1])
            _ = entry["made_of"], entry["sha256"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, KernelError) as error:
        raise KernelError(f"{path} is damaged ({error}).", "Remove that folder.") from error
    return index


def _name(source: str, architecture: str) -> str:
    return f"{source}.{architecture}.{'cubin' if architecture.startswith('sm_') else 'ptx'}"


def _again(folder: Path) -> str:
    if folder == PREBUILT:
        return "Install arnet again."
    return f"arnet kernels build --arch ARCHITECTURE --out {folder}"
