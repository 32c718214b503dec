"""The kernels' sources compiled for the processor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

# The helpers beside this file are imported by their bare names.
sys.path.append(str(Path(__file__).parent))

from emulator import FAULTS, Emulator, compiler

from arnet.kernels.compile import FOLDER, supported
from arnet.kernels.errors import KernelError


@pytest.fixture(scope="session")
def gcc() -> str:
    """g++, without which the tests that need it are skipped."""
    found = compiler()
    if found is None:
        pytest.skip("g++ is not installed")
    return found


@pytest.fixture(scope="session")
def emulator(gcc: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Emulator]:
    """By a source's name: its kernels on the processor. "faults" are those with a fault each."""
    folder = tmp_path_factory.mktemp("emulated")

    @cache
    def make(source: str) -> Emulator:
        return Emulator(FAULTS if source == "faults" else FOLDER / f"{source}.cu", folder)

    return make


@pytest.fixture(scope="session")
def nvrtc() -> tuple[int, ...]:
    """The architectures that NVRTC knows; without it, the tests that need it are skipped."""
    try:
        return supported()
    except KernelError as error:
        pytest.skip(error.message)
