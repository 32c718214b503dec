"""Code for a GPU: what is shipped is up to date, and the best there is is found."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from arnet.kernels import binaries, cache
from arnet.kernels.binaries import INDEX, PREBUILT, PREBUILT_ARCHITECTURES, binary, build, prepared
from arnet.kernels.catalogue import SOURCES
from arnet.kernels.compile import compile_source, fingerprint, version
from arnet.kernels.errors import KernelError

REBUILD = "arnet kernels build --arch compute_75 --arch compute_80 --out kernels/prebuilt"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ARNET_KERNELS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(source: str, architecture: str) -> bytes:
        raise KernelError("NVRTC is not installed.", "pip install it")

    monkeypatch.setattr(binaries, "compiled", missing)


# What is shipped.


@pytest.mark.parametrize("architecture", PREBUILT_ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES)
def test_the_ptx_that_is_shipped_is_made_of_the_sources(source: str, architecture: str) -> None:
    path = PREBUILT / f"{source}.{architecture}.ptx"
    entry = json.loads((PREBUILT / INDEX).read_text())[path.name]
    assert entry["made_of"] == fingerprint(source), f"run {REBUILD}"
    number = int(architecture.removeprefix("compute_"))
    found = prepared(PREBUILT, source, (number // 10, number % 10))
    assert found is not None and found.architecture == architecture
    text = found.code.decode()
    # The oldest driver of CUDA 13 reads no newer version of the language.
    ((major, minor),) = re.findall(r"^\.version (\d+)\.(\d+)$", text, re.MULTILINE)
    assert (int(major), int(minor)) <= (9, 0)
    assert f".target sm_{number}\n" in text


def test_the_ptx_that_is_shipped_is_what_the_compiler_makes(nvrtc) -> None:
    entry = json.loads((PREBUILT / INDEX).read_text())["masked_pool.compute_80.ptx"]
    if entry["compiler"] != f"NVRTC {version()}":
        pytest.skip(f"made with {entry['compiler']}, this is {version()}")
    for source in SOURCES:
        path = PREBUILT / f"{source}.compute_80.ptx"
        assert compile_source(source, "compute_80").code == path.read_bytes(), f"run {REBUILD}"


def test_nothing_else_is_shipped() -> None:
    names = {f"{s}.{a}.ptx" for s in SOURCES for a in PREBUILT_ARCHITECTURES}
    assert {path.name for path in PREBUILT.iterdir()} == names | {INDEX}
    assert set(json.loads((PREBUILT / INDEX).read_text())) == names


# What is found.


def test_with_the_compiler_it_is_a_cubin_of_this_gpu(nvrtc, own_cache: Path) -> None:
    found = binary("postprocess", (9, 0))
    assert (found.architecture, found.is_ptx) == ("sm_90", False)
    assert found.code.startswith(b"\x7fELF")
    assert len(list(own_cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [((7, 5), "75"), ((8, 0), "80"), ((9, 0), "80"), ((12, 0), "80")],
)
def test_without_the_compiler_it_is_the_newest_ptx_that_fits(
    capability: tuple[int, int], architecture: str, no_compiler: None
) -> None:
    found = binary("masked_pool", capability)
    assert (found.architecture, found.is_ptx) == (f"compute_{architecture}", True)


def test_where_nothing_fits_the_reason_is_told(no_compiler: None) -> None:
    with pytest.raises(KernelError, match="sm_70: NVRTC is not installed") as caught:
        binary("masked_pool", (7, 0))
    assert caught.value.hint == "pip install it"


def test_a_folder_of_the_user_comes_first(
    nvrtc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_compiler: None
) -> None:
    folder = tmp_path / "kernels"
    monkeypatch.setattr(binaries, "SOURCES", ["postprocess"])
    names: list[str] = []
    build(["sm_80", "compute_75"], folder, names.append)
    build(["sm_86"], folder)
    assert names == ["postprocess.sm_80.cubin", "postprocess.compute_75.ptx"]
    monkeypatch.setenv("ARNET_KERNELS", str(folder))
    chosen = [binary("postprocess", c).architecture for c in ((8, 0), (8, 6), (8, 9), (9, 0))]
    # A cubin runs within its generation, from its minor version on.
    assert chosen == ["sm_80", "sm_86", "sm_86", "compute_75"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "masked_pool.compute_80.ptx").write_text("x"), "is not what"),
        (lambda folder: (folder / "masked_pool.compute_80.ptx").unlink(), "No such file"),
        (lambda folder: (folder / INDEX).write_text("{"), "is damaged"),
        (lambda folder: (folder / INDEX).write_text('{"a": {}}'), "is damaged"),
        (
            lambda folder: (folder / INDEX).write_text(
                (folder / INDEX).read_text().replace(fingerprint("masked_pool"), "0" * 64)
            ),
            "another version",
        ),
    ],
)
def test_a_damaged_folder_is_told(
    damage, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(PREBUILT, folder)
    damage(folder)
    monkeypatch.setenv("ARNET_KERNELS", str(folder))
    with pytest.raises(KernelError, match=message):
        binary("masked_pool", (8, 0))


def test_a_folder_that_cannot_be_written_is_told(nvrtc, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="could not be written"):
        build(["compute_75"], tmp_path / "file" / "kernels")


# The cache.


def test_what_was_made_once_is_not_made_again(own_cache: Path) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"code"

    assert [cache.cached("a", ("x",), make) for _ in range(3)] == [b"code"] * 3
    assert len(made) == 1
    cache.cached("a", ("y",), make)
    cache.cached("b", ("x",), make)
    assert len(made) == 3
    assert len(list(own_cache.iterdir())) == 3


@pytest.mark.parametrize("keep", [0, 5, 20, 50, -1])
def test_a_damaged_file_is_made_again(keep: int, own_cache: Path) -> None:
    cache.cached("a", (), lambda: b"code" * 10)
    (path,) = own_cache.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.cached("a", (), lambda: b"new") == b"new"
    assert cache.cached("a", (), lambda: b"newer") == b"new"
    assert list(own_cache.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="ARNET_CACHE"):
        assert cache.cached("a", (), lambda: b"code") == b"code"
