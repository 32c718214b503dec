"""The kernels as plugins of the real ``tensorrt.plugin`` of several versions.

What is launched there is what ``KernelSpec.plan`` says, for every type and many shapes.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest

from arnet.kernels.binaries import PREBUILT, prepared
from arnet.kernels.errors import KernelError
from arnet.kernels.plugins import PLUGINS, cuda_of, ptx
from arnet.kernels.spec import VARIANTS

sys.path.append(str(Path(__file__).parents[1] / "tensorrt"))

from fetch_bindings import WHEELS, UnavailableError, run

Shapes = list[tuple[int, ...]]
CASES: list[tuple[str, Shapes, dict[str, int]]] = [
    *(
        ("MaskedPool", [(1, channels, h, w), (count, 1, h, w)], {"area": area})
        for count, channels, h, w in ((1, 256, 41, 41), (5, 3, 6, 7), (50, 1, 60, 60))
        for area in (0, 1)
    ),
    *(
        ("MaskedPoolResized", [(1, c, h, w), (count, 1, size, size)], {"area": area})
        for count, c, h, w, size in ((1, 256, 60, 60, 473), (3, 17, 6, 7, 50))
        for area in (0, 1)
    ),
    *(
        ("MaskedShiftSum", [(1, 9 * d, h, w), (t, 1, h, w), (t, d, h, w), (t, 9, d)], {})
        for t, d, h, w in ((1, 256, 60, 60), (5, 6, 41, 41), (3, 5, 2, 3), (10, 1, 16, 17))
    ),
    *(
        (
            "ForgetEnhanceBlock",
            [(k, c), (3, 3 * c, c, kernel), (3, 3 * c)],
            {"block": block, "dilation": 2**block},
        )
        for k, c, kernel, block in ((1, 256, 2, 0), (5, 12, 3, 1), (10, 7, 1, 2))
    ),
]


def types_of(op: str, variant: str) -> list[str]:
    return [PLUGINS[op].dtype(tensor, variant) for tensor in PLUGINS[op].inputs]


@cache
def answers(version: str, faults: str = "{}") -> list[dict[str, Any]]:
    """What the plugins of a version answer to every case in every type."""
    cases = [
        {
            "op": op,
            "shapes": shapes,
            "types": types_of(op, variant),
            "attributes": {name: [value] for name, value in parameters.items()},
        }
        for op, shapes, parameters in CASES
        for variant in VARIANTS
    ]
    job = {"cases": cases, "faults": json.loads(faults), "capability": [9, 0]}
    try:
        found = json.loads(run(version, "drive_plugins.py", json.dumps(job)))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert found["version"].startswith(f"{version}.")
    result: list[dict[str, Any]] = found["answers"]
    return result


def differences(found: list[dict[str, Any]]) -> list[str]:
    """Where answers are not what the specs say."""
    wrong = []
    places = [(case, variant) for case in CASES for variant in VARIANTS]
    for ((op, shapes, parameters), variant), answer in zip(places, found, strict=True):
        plan = PLUGINS[op].plan(variant, shapes, **parameters)
        expected = {
            "entry": plan.entry,
            "in_ptx": True,
            "grid": [*plan.grid],
            "block": [*plan.block],
            "shared": plan.shared,
            "extras": [*plan.extras],
            "output": [[*plan.outputs[0][0]], plan.outputs[0][1]],
            "combinations": [
                kind for each in VARIANTS for kind in (*types_of(op, each), plan_type(op, each))
            ],
            "fields": list(parameters),
        }
        wrong += [
            f"{op} {variant} {shapes}: {key} is {answer.get(key, answer)}, not {value}"
            for key, value in expected.items()
            if answer.get(key) != value
        ]
    return wrong


def plan_type(op: str, variant: str) -> str:
    return PLUGINS[op].dtype(PLUGINS[op].outputs[0], variant)


@pytest.mark.parametrize("version", WHEELS)
def test_every_launch_is_that_of_the_spec(version: str) -> None:
    found = answers(version)
    assert differences(found) == []
    assert all(answer["tactic"] > 0 for answer in found)
    # The code is for the GPU of the second build; without a compiler it is what is shipped.
    code = {ptx(spec.source, (9, 0)).decode() for spec in PLUGINS.values()}
    assert {answer["target"] for answer in found} == {
        text.split(".target ")[1].split()[0] for text in code
    }


@pytest.mark.parametrize(
    ("op", "changes"),
    [
        ("MaskedPool", {"extras": ["C", "T", "h*w", "area"]}),
        ("MaskedPool", {"extras": ["T", "C", "h*w"]}),
        ("MaskedPoolResized", {"extras": ["T", "C", "H", "W", "h", "w", "area"]}),
        ("MaskedShiftSum", {"grid": ["cdiv(D, 2)", "cdiv(h*w, 128)", "1"]}),
        ("MaskedShiftSum", {"block": ["256", "1", "1"]}),
        ("ForgetEnhanceBlock", {"extras": ["k", "C", "kernel", "block", "dilation"]}),
        ("ForgetEnhanceBlock", {"name": "masked_pool"}),
        ("ForgetEnhanceBlock", {"shared": "C*4"}),
    ],
)
def test_a_plugin_that_launches_otherwise_is_found(op: str, changes: dict[str, Any]) -> None:
    found = differences(answers("11.4", json.dumps({op: changes})))
    assert found and all(line.startswith(op) for line in found)


def test_a_missing_attribute_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ("MaskedPool", CASES[0][1], {})
    monkeypatch.setitem(globals(), "CASES", [case])
    (error, *_) = answers.__wrapped__("11.4")
    assert "error" in error


def test_the_names_are_not_taken() -> None:
    """Functions of a graph are found by their name alone, operators of ONNX before them."""
    standard = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert not standard & set(PLUGINS)
    assert all("." not in op and op.isidentifier() for op in PLUGINS)


@pytest.mark.parametrize(("op", "shapes", "parameters"), CASES)
def test_no_plugin_needs_more_shared_memory_than_every_gpu_has(op, shapes, parameters) -> None:
    assert PLUGINS[op].plan("float32", shapes, **parameters).shared <= 48 << 10


@pytest.mark.parametrize("source", sorted({spec.source for spec in PLUGINS.values()}))
def test_the_shipped_code_is_for_drivers_of_cuda_13(source: str) -> None:
    shipped = prepared(PREBUILT, source, (8, 0))
    assert shipped is not None and cuda_of(shipped.code) == (13, 0)


@pytest.mark.parametrize(
    ("version", "cuda"), [("9.0", (13, 0)), ("9.4", (13, 4)), ("8.7", (12, 0)), ("8.0", (12, 0))]
)
def test_the_cuda_that_ptx_needs(version: str, cuda: tuple[int, int]) -> None:
    assert cuda_of(f"// made by a compiler\n.version {version}\n.target".encode()) == cuda


def test_what_is_no_ptx() -> None:
    with pytest.raises(KernelError, match="no PTX"):
        cuda_of(b"\x7fELF")
