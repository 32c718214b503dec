"""A bundle with plans, where TensorRT is stood in for: what it holds, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from arnet.export import exporter
from arnet.export.exporter import ExportOptions, export_bundle
from arnet.export.tensorrt.library import Gpu, Toolchain
from arnet.export.tensorrt.plans import PlanOptions
from arnet.runtime.bundle import Bundle, PlanSet, PlanStage
from arnet.runtime.errors import BuildError

TOOLS = Toolchain(None, Gpu("NVIDIA H200", (9, 0), "580", "13.0"))
PLANS = PlanSet(
    "fp16", "11.4.0.106", "13.0", "580", "NVIDIA H200", (9, 0), "none", False, ("MaskedPool",),
    (1, 5, 10), (1, 1, 8), {"decode": PlanStage("decode.sm90.plan", {"float16": 12})},
)  # fmt: skip


@pytest.fixture
def export(checkpoint, episodes, monkeypatch, tmp_path):
    """Exports with plans and graphs that exist; the gate runs these in ONNX Runtime."""
    asked = {}

    def run(precision, models, build=None):
        def build_plans(tools, graphs, options, sizes, told):
            asked.update(tools=tools, graphs=graphs, options=options, sizes=sizes)
            told("decode: Tactics", 1, 2)
            if build:
                build()
            return replace(PLANS, precision=options.precision), {"decode.sm90.plan": b"plan"}

        judge = exporter.judge

        def judged(*arguments):
            *rest, asked["engine"] = arguments
            return judge(*rest, "onnx")

        monkeypatch.setattr(exporter, "export_stages", lambda *_: dict(models))
        monkeypatch.setattr(exporter, "build_plans", build_plans)
        monkeypatch.setattr(exporter, "judge", judged)
        options = ExportOptions(plans=PlanOptions(precision))
        made = export_bundle(
            checkpoint, "tiny.safetensors", tmp_path / "out" / "tiny", episodes, "square, disc",
            options, tools=TOOLS,
        )  # fmt: skip
        return made, asked

    return run


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_a_bundle_with_plans(export, precision, request) -> None:
    kind = "half_graphs" if precision == "fp16" else "graphs"
    made, asked = export(precision, request.getfixturevalue(kind))
    bundle = Bundle.open(made.path)
    manifest = bundle.manifest
    assert made.parity.passed and made.parity.precision == precision
    assert asked["engine"] == "tensorrt"  # the gate is on the plans
    assert asked["tools"] is TOOLS and asked["options"] == PlanOptions(precision)
    assert asked["sizes"].shots == (1, 5, 10) and asked["sizes"].classes == (1, 1, 4)
    assert manifest.plans == (replace(PLANS, precision=precision),)
    assert bundle.read("decode.sm90.plan") == b"plan"
    assert manifest.precision.requested == precision
    stored = {"tf32": "fp32"}.get(precision, precision)
    assert manifest.precision.weights == stored
    # What is built is what is in the bundle, too.
    found = onnx.load_from_string(bundle.read("decode.onnx"))
    assert found == asked["graphs"]["decode"]
    quantised = any(node.op_type == "QuantizeLinear" for node in found.graph.node)
    assert quantised == (precision == "int8")
    assert (
        f"| plans | {precision}, TensorRT 11.4.0.106, built on NVIDIA H200 (sm_90)"
        in (made.path / "MODEL_CARD.md").read_text()
    )


@pytest.mark.parametrize("failure", [BuildError("TensorRT refused"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing(export, graphs, tmp_path, failure) -> None:
    def fail() -> None:
        raise failure

    with pytest.raises(type(failure)):
        export("fp32", graphs, fail)
    assert not (tmp_path / "out").exists()
