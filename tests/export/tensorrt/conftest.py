"""The real bindings of several versions, in processes of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The helpers of that folder are imported by their bare names.
sys.path.append(str(Path(__file__).parents[2] / "tensorrt"))

from fetch_bindings import UnavailableError, run

Drive = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def drive() -> Drive:
    """Runs a script of ``tests/tensorrt`` over a version with a job; gives what it answers."""

    def drive(version: str, script: str, **job: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(run(version, script, json.dumps(job)))
        except UnavailableError as error:
            pytest.skip(str(error))
        return answer

    return drive
