"""``arnet kernels build``."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from arnet.cli.kernels import app
from arnet.kernels.binaries import INDEX, prepared
from arnet.kernels.catalogue import SOURCES
from arnet.kernels.errors import KernelError


def test_build_writes_what_the_runtime_finds(nvrtc, tmp_path: Path) -> None:
    folder = tmp_path / "compiled"
    finished = CliRunner().invoke(app, ["build", "--arch", "sm_75", "--out", str(folder)])
    assert finished.exit_code == 0, finished.output
    assert f"{len(SOURCES)} files" in finished.output
    assert f"ARNET_KERNELS={folder}" in finished.output.replace("\n", "")
    assert len(json.loads((folder / INDEX).read_text())) == len(SOURCES)
    for source in SOURCES:
        found = prepared(folder, source, (7, 5))
        assert found is not None and found.architecture == "sm_75"


def test_a_wrong_architecture_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "compiled"
    finished = CliRunner().invoke(app, ["build", "--arch", "hopper", "--out", str(folder)])
    assert isinstance(finished.exception, KernelError)
    assert "hopper" in finished.exception.message
    assert not folder.exists()


def test_build_without_an_architecture_says_so() -> None:
    finished = CliRunner().invoke(app, ["build"])
    assert finished.exit_code == 2
    assert "--arch" in finished.output
