"""Imports point one way: kernels <- runtime <- the model <- export, and the command line on top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "arnet": ROOT / "arnet",
    "arnet.export": ROOT / "export",
    "arnet.kernels": ROOT / "kernels",
    "arnet.runtime": ROOT / "runtime",
}
ABOVE_THE_MODEL = ("arnet.export", "arnet.cli")
# Inside arnet: training -> evaluation -> inputs -> data and modeling.
INSIDE = ("arnet.training", "arnet.evaluation", "arnet.inputs")
FORBIDDEN = {
    # Everything that is neither itself, below it nor the version.
    "arnet.kernels": ("arnet", "pydantic", "yaml"),
    "arnet.runtime": ("arnet", "torch", "torchvision", "onnx", "pydantic", "yaml", "safetensors"),
    "arnet": ABOVE_THE_MODEL,
    "arnet.data": (*ABOVE_THE_MODEL, *INSIDE, "arnet.modeling"),
    "arnet.modeling": (*ABOVE_THE_MODEL, *INSIDE, "arnet.data"),
    "arnet.inputs": (*ABOVE_THE_MODEL, "arnet.training", "arnet.evaluation"),
    "arnet.evaluation": (*ABOVE_THE_MODEL, "arnet.training"),
    "arnet.export": ("arnet.cli",),
    "arnet.cli": (),
}
ALLOWED = {
    "arnet.kernels": ("arnet.kernels", "arnet.version"),
    "arnet.runtime": ("arnet.runtime", "arnet.kernels", "arnet.version"),
}
BARE = ("export", "runtime", "kernels")


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imported(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, wherever in the file that is.

    Args:
        path: a Python file.
        package: the package it is in, to which relative imports refer.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def sources() -> Iterator[tuple[str, Path]]:
    """Every file of the product with the package it is in."""
    for name, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            yield ".".join((name, *path.parent.relative_to(folder).parts)), path


def offences(layer: str, package: str, path: Path) -> list[str]:
    found = []
    for line, name in imported(path, package):
        allowed = within(name, ALLOWED.get(layer, ()))
        if within(name, BARE) or (within(name, FORBIDDEN[layer]) and not allowed):
            found.append(f"{path}:{line} imports {name}")
    return found


def layer_of(package: str) -> str:
    return next(name for name in sorted(FORBIDDEN, key=len)[::-1] if within(package, (name,)))


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_a_layer_imports_nothing_above_it(layer: str) -> None:
    own = [(package, path) for package, path in sources() if layer_of(package) == layer]
    # The command line sits on top of all, and its program is where the commands meet.
    own = [(p, path) for p, path in own if path != ROOT / "arnet" / "__main__.py"]
    assert own
    assert [offence for package, path in own for offence in offences(layer, package, path)] == []


def test_no_test_imports_a_folder_by_its_bare_name() -> None:
    found = [
        f"{path}:{line} imports {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, name in imported(path, "tests")
        if within(name, BARE)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("arnet.runtime", "import torch"),
        ("arnet.runtime", "def f():\n    from torch.nn import functional"),
        ("arnet.runtime", "from arnet import modeling"),
        ("arnet.runtime", "from arnet.config import Config"),
        ("arnet.runtime", "from .. import checkpoint"),
        ("arnet.runtime", "import runtime.errors"),
        ("arnet.kernels", "from arnet.runtime.errors import ArnetError"),
        ("arnet.export", "from arnet.cli import console"),
        ("arnet", "import arnet.export"),
        ("arnet.modeling", "from arnet.data import Episode"),
        ("arnet.evaluation", "from arnet.training.trainer import Trainer"),
        ("arnet.cli", "from kernels import compile"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(
    layer: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert len(offences(layer, layer, path)) == 1


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("arnet.runtime", "import numpy\nfrom PIL import Image\nfrom arnet.version import a"),
        ("arnet.runtime", "from arnet.runtime.errors import ArnetError\nfrom . import errors"),
        ("arnet.runtime", "from arnet import kernels"),
        ("arnet", "import torch\nfrom arnet.runtime import errors"),
        ("arnet.evaluation", "from arnet.inputs import InputSource"),
        ("arnet.export", "import onnx\nfrom arnet import modeling, runtime"),
    ],
)
def test_an_import_that_points_the_right_way_is_not(layer: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert offences(layer, layer, path) == []
