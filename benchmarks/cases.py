"""The odd cases of the tests, for a GPU; needs NumPy alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parents[1] / "tests" / "kernels" / "cases.py"


def odd_cases() -> list[Any]:
    """The cases that the tests run on a processor: kernel, label, inputs, parameters."""
    if "cases" not in sys.modules:
        spec = importlib.util.spec_from_file_location("cases", PLACE)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["cases"] = module  # which the dataclass in it looks for
        spec.loader.exec_module(module)
    found: list[Any] = sys.modules["cases"].CASES
    return found
