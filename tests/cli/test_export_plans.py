"""``arnet export`` for TensorRT, where TensorRT and a GPU are stood in for."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from arnet.export import exporter
from arnet.export.exporter import ExportOptions
from arnet.export.tensorrt import library
from arnet.export.tensorrt.library import Gpu, Toolchain
from arnet.export.tensorrt.plans import PlanOptions
from arnet.runtime.bundle import CheckpointInfo, FileInfo, Manifest, PlanSet, PlanStage
from arnet.runtime.errors import BuildError

PLANS = PlanSet(
    "fp16", "11.4.0.106", "13.0", "580", "NVIDIA H200", (9, 0), "none", False, (),
    (1, 5, 10), (1, 1, 4), {"decode": PlanStage("decode.sm90.plan", {"float16": 12})},
)  # fmt: skip
TOOLS = Toolchain(None, Gpu("NVIDIA H200", (9, 0), "580", "13.0"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the command asks the exporter for, which then finds that TensorRT refuses."""
    asked: dict[str, object] = {}

    def find(command: str) -> Toolchain:
        asked["command"] = command
        return TOOLS

    def export_bundle(checkpoint, name, out, episodes, source, options, told, tools):
        asked.update(options=options, tools=tools, episodes=episodes)
        told("decode: Tactics", 1, 20)
        raise BuildError("TensorRT refused to build the plan", "try another")

    monkeypatch.setattr(library, "find", find)
    monkeypatch.setattr(exporter, "export_bundle", export_bundle)
    return asked


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (
            ["--engine", "fp16"],
            ExportOptions(None, "fp32", "fp32", True, False, PlanOptions("fp16")),
        ),
        (
            ["--engine", "tf32", "--plugins", "off", "--hardware", "ampere-plus", "--overwrite",
             "--version-compatible", "--max-shots", 3, "--max-classes", 2, "--size", 97],
            ExportOptions(
                97, "fp32", "fp32", False, True, PlanOptions("tf32", "ampere-plus", True, 3, 2)
            ),
        ),
        (
            ["--precision", "fp16"],
            ExportOptions(None, "fp16", "fp32", True, False, None),
        ),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_passed_on(
    fails, asked, examples: Path, tmp_path: Path, words, options
) -> None:
    checkpoint = examples.parent / "weights" / "arnet-r18.safetensors"
    common = ["--checkpoint", checkpoint, "--support", examples / "horse"]
    message = fails("export", *common, "--out", tmp_path / "my bundle", *words)
    assert "TensorRT refused to build the plan" in message and "try another" in message
    assert asked["options"] == options
    assert asked["tools"] is (TOOLS if options.plans else None)
    assert list(tmp_path.iterdir()) == []
    if options.plans:
        assert asked["command"].startswith("arnet export --checkpoint ")
        assert (
            f"--out '{tmp_path}/my bundle' --engine {options.plans.precision}" in asked["command"]
        )


@pytest.mark.parametrize(("words", "shots"), [([], 4), (["--max-shots", 3], 3)], ids=str)
def test_the_gate_gives_plans_no_more_shots_than_they_take(
    fails, asked, examples: Path, tmp_path: Path, words, shots
) -> None:
    common = ["--checkpoint", "arnet-r18", "--support", examples / "horse", "--engine", "fp16"]
    fails("export", *common, "--out", tmp_path / "bundle", *words)
    assert {len(episode.images) for episode in asked["episodes"]} == {shots}


@pytest.mark.parametrize(
    "option",
    [
        ("--hardware", "ampere-plus"), ("--version-compatible",), ("--max-shots", 10),
        ("--max-classes", 4),
    ],
    ids=lambda option: option[0],
)  # fmt: skip
def test_options_of_plans_mean_nothing_without_them(
    fails, asked, examples: Path, tmp_path: Path, option
) -> None:
    words = ["--checkpoint", "arnet-r18", "--support", examples / "horse", "--out", tmp_path / "b"]
    assert f"{option[0]} means nothing with --engine onnx" in fails("export", *words, *option)
    assert not asked, "it went on"


@pytest.mark.parametrize(
    ("with_plans", "words", "engine"),
    [
        (True, [], "tensorrt"),
        (True, ["--engine", "onnx"], "onnx"),
        (False, [], "onnx"),
    ],
)
def test_parity_runs_the_plans_where_there_are_any(
    fails, bundle: Path, examples: Path, tmp_path: Path, monkeypatch, with_plans, words, engine
) -> None:
    checkpoint = examples.parent / "weights" / "arnet-r18.safetensors"
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    (folder / "decode.sm90.plan").write_bytes(b"plan")
    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    plan = FileInfo(hashlib.sha256(b"plan").hexdigest(), 4)
    manifest = replace(
        manifest,
        checkpoint=CheckpointInfo(checkpoint.name, digest),
        files={**manifest.files, "decode.sm90.plan": plan},
        plans=(PLANS, replace(PLANS, shots=(1, 2, 2))) if with_plans else (),
    )
    (folder / "manifest.json").write_bytes(manifest.to_json())

    def judge(*arguments):
        shots = max(len(episode.images) for episode in arguments[3])
        raise BuildError(f"judged with {arguments[-1]}, {shots} shots", "nothing")

    monkeypatch.setattr(exporter, "judge", judge)
    given = ["--checkpoint", checkpoint, "--support", examples / "horse", *words]
    shots = 2 if with_plans else 4  # as many as the plans of either set take
    assert f"judged with {engine}, {shots} shots\n" in fails("parity", folder, *given)
