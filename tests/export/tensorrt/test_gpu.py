"""Plans on a real GPU with a real TensorRT. These tests have not run yet."""

from __future__ import annotations

import pytest

from arnet.export.exporter import ExportOptions, export_bundle
from arnet.export.tensorrt.library import Toolchain, find
from arnet.export.tensorrt.plans import PlanOptions
from arnet.runtime.bundle import Bundle
from arnet.runtime.bundle.plans import PLANNED_STAGES
from arnet.runtime.errors import MissingDependencyError

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def tools() -> Toolchain:
    """TensorRT and the GPU."""
    try:
        return find("pytest")
    except MissingDependencyError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("plugins", [False, True], ids=["plain", "plugins"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"])
def test_plans_are_built_and_pass_their_gate(
    tools, checkpoint, episodes, tmp_path, precision, plugins
) -> None:
    options = ExportOptions(custom_operators=plugins, plans=PlanOptions(precision))
    made = export_bundle(
        checkpoint, "tiny.safetensors", tmp_path / "tiny", episodes, "square, disc", options,
        tools=tools,
    )  # fmt: skip
    (plans,) = Bundle.open(made.path).manifest.plans
    assert set(plans.stages) == set(PLANNED_STAGES)
    assert bool(plans.plugins) == plugins
    if precision in ("fp32", "tf32", "fp16"):  # of the others, noise says little
        assert made.parity.passed, made.parity.failures
