"""The sources compile for every architecture, without spills, to the arguments of their specs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from emulator import entries_of

from arnet.kernels import compile as kernel_compiler
from arnet.kernels.binaries import PREBUILT, PREBUILT_ARCHITECTURES
from arnet.kernels.catalogue import KERNELS, SOURCES
from arnet.kernels.compile import FOLDER, check_architecture, compile_source, compile_text, version
from arnet.kernels.errors import KernelError
from arnet.kernels.spec import VARIANTS, KernelSpec

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
RECORD = Path(__file__).parent / "resources.json"
SHARED_LIMIT = 48 * 1024
PARAMETER = re.compile(r"\.param \.(\w+)")


def entries(ptx: str) -> dict[str, list[str]]:
    """The types of the arguments of every entry of a PTX file."""
    found = re.findall(r"\.visible \.entry (\w+)\((.*?)\)", ptx, re.DOTALL)
    return {name: PARAMETER.findall(arguments) for name, arguments in found}


def wanted(spec: KernelSpec) -> list[str]:
    """Addresses of the inputs, int32 extras, addresses of the outputs."""
    return ["u64"] * len(spec.inputs) + ["u32"] * len(spec.extras) + ["u64"] * len(spec.outputs)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_without_spills_and_takes_what_is_recorded(
    architecture: int, nvrtc: tuple[int, ...]
) -> None:
    if architecture not in nvrtc:
        pytest.skip(f"NVRTC {version()} does not know sm_{architecture}")
    found = {}
    for source in SOURCES:
        for entry, resources in compile_source(source, f"sm_{architecture}").resources().items():
            assert resources.spilled == 0, entry
            assert 0 < resources.registers <= 255
            assert resources.shared < SHARED_LIMIT
            found[entry] = asdict(resources)
    assert set(found) == {spec.entry(v) for spec in KERNELS.values() for v in VARIANTS}
    record = json.loads(RECORD.read_text())
    if record["compiler"] != version():
        pytest.skip(f"recorded with NVRTC {record['compiler']}, this is {version()}")
    assert found == record["resources"][f"sm_{architecture}"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("architecture", PREBUILT_ARCHITECTURES)
def test_the_entries_take_the_arguments_of_their_specs(source: str, architecture: str) -> None:
    found = entries((PREBUILT / f"{source}.{architecture}.ptx").read_text())
    specs = [spec for spec in KERNELS.values() if spec.source == source]
    assert found == {spec.entry(v): wanted(spec) for spec in specs for v in VARIANTS}


def test_an_argument_of_another_type_would_be_found(nvrtc) -> None:
    text = 'extern "C" __global__ void f(const float* a, long long n, float* b) { *b = a[n]; }'
    ptx = compile_text(text, "f.cu", "compute_80").code.decode()
    assert entries(ptx) == {"f": ["u64", "u64", "u64"]}


def test_every_source_belongs_to_a_kernel(gcc) -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.cu")) == SOURCES
    for source in SOURCES:
        specs = [spec for spec in KERNELS.values() if spec.source == source]
        names = {spec.entry(v) for spec in specs for v in VARIANTS}
        assert set(entries_of(FOLDER / f"{source}.cu")) == names


# What cannot be compiled.


def test_an_error_in_a_source_is_told_with_its_line(nvrtc) -> None:
    with pytest.raises(KernelError, match=r"wrong\.cu\(2\)"):
        compile_text("\nint f( { }", "wrong.cu", "sm_90")


@pytest.mark.parametrize("architecture", ["sm_9x", "90", "", "sm_90 "])
def test_what_is_no_architecture_is_told(architecture: str) -> None:
    with pytest.raises(KernelError, match="is no architecture") as caught:
        check_architecture(architecture)
    assert "sm_90" in caught.value.hint


def test_an_architecture_that_the_compiler_does_not_know_is_told(nvrtc) -> None:
    with pytest.raises(KernelError, match="not for sm_35"):
        compile_source("masked_pool", "sm_35")


def test_without_the_compiler_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(KernelError, match="NVRTC is not installed") as caught:
        compile_source("masked_pool", "sm_90")
    assert "pip install" in caught.value.hint


def test_a_fingerprint_changes_with_the_source_and_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = {kernel_compiler.fingerprint("masked_pool")}
    for name in ("masked_pool.cu", "common.cuh"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("masked_pool.cu", "common.cuh"):
            text = (FOLDER / file).read_text() + ("\n" if file == name else "")
            (folder / file).write_text(text)
        with monkeypatch.context() as patch:
            patch.setattr(kernel_compiler, "FOLDER", folder)
            prints.add(kernel_compiler.fingerprint("masked_pool"))
    assert len(prints) == 3
