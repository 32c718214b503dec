"""No answer of TensorRT is left unchecked: it refuses with None or False and raises nothing.

Constructors alone raise, a TypeError, of which ``made`` makes None.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from fetch_bindings import WHEELS

ROOT = Path(__file__).parents[3]
SOURCES = [
    *sorted((ROOT / "export" / "tensorrt").glob("*.py")),
    *(ROOT / "runtime" / "engines" / name for name in ("plans.py", "complaints.py")),
]
MAKERS = {"Builder", "OnnxParser", "Runtime", "Refitter"}
# Of things that are there: they answer, or their index or name was wrong.
SAFE = {"get_layer", "get_error", "desc", "node_name", "node_operator"} | {
    f"get_tensor_{what}" for what in ("name", "mode", "dtype", "shape", "profile_shape")
}
# Names of methods that files and threads have, too.
OURS = {"read", "write", "clear"}


def unchecked(text: str, returns: dict[str, list[str]]) -> list[str]:
    """Calls of TensorRT in a source whose answer is neither given to ``need`` nor compared."""
    tree = ast.parse(text)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        answers = name == "made" or any(kind != "None" for kind in returns.get(name, []))
        open_ = answers and name not in SAFE | OURS and not checked(call, parents)
        if open_ or name in MAKERS:
            found.append(f"{call.lineno}: {ast.unparse(call)}")
    return found


def checked(call: ast.expr, parents: dict[ast.AST, ast.AST]) -> bool:
    parent = parents[call]
    if isinstance(parent, ast.Call):
        return needs(parent)
    if isinstance(parent, ast.UnaryOp):
        return isinstance(parent.op, ast.Not)
    if isinstance(parent, ast.NamedExpr):  # what is missing, if anything is
        return isinstance(parents[parent], ast.If)
    if isinstance(parent, ast.Compare):
        return compares(parent)
    if isinstance(parent, ast.Assign):
        (target,) = parent.targets
        function: ast.AST = parent
        while not isinstance(function, ast.FunctionDef):
            function = parents[function]
        uses = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(target, ast.Name) and node.id == target.id
        ]
        return any(node is not target and checked_use(node, parents) for node in uses)
    return False


def checked_use(name: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    parent = parents[name]
    if isinstance(parent, ast.Call):
        return needs(parent) and parent.args[0] is name
    return isinstance(parent, ast.Compare) and compares(parent)


def needs(call: ast.Call) -> bool:
    """Whether it is ``need``, the function of the export or the method of the runtime."""
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
    ) == "need"


def compares(node: ast.Compare) -> bool:
    return isinstance(node.ops[0], ast.Is) and isinstance(node.comparators[0], ast.Constant)


@pytest.fixture(scope="session")
def returns(drive) -> dict[str, list[str]]:
    """What each method returns in some version."""
    found: dict[str, set[str]] = {}
    for version in WHEELS:
        for name, kinds in drive(version, "list_methods.py").items():
            found.setdefault(name, set()).update(kinds)
    return {name: sorted(kinds) for name, kinds in found.items()}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_answer_is_checked(path, returns) -> None:
    assert unchecked(path.read_text(encoding="utf-8"), returns) == []


@pytest.mark.parametrize(
    "line",
    [
        "config.set_timing_cache(cache, False)",
        "cache = config.create_timing_cache(b'')",
        "plan = builder.build_serialized_network(network, config)\n    use(plan)",
        "use(made(trt.Runtime, logger))",
        "need(trt.Runtime(logger), 'it')",
        "if context.set_input_shape(name, shape): pass",
        "context.execute_async_v3(stream)",
        "index = config.add_optimization_profile(profile)\n    need(other, index)",
        "library.needed(context.execute_async_v3(stream), 'it')",
        "answer = context.set_tensor_address(name, 256)\n    library.need(other, 'it')",
        "missing = context.infer_shapes()",
    ],
)
def test_an_answer_that_is_not_checked_is_found(line, returns) -> None:
    assert len(unchecked(f"def build():\n    {line}\n", returns)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "need(config.set_timing_cache(cache, False), 'it')",
        "need(made(trt.Runtime, logger), 'it')",
        "config.set_flag(flag)",
        "if not parser.parse(model): raise error",
        "plan = builder.build_serialized_network(network, config)\n    need(plan, 'it')",
        "if config.set_timing_cache(cache, False) is False: raise error",
        "self.need(context.execute_async_v3(stream), 'it')",
        "answer = context.set_tensor_address(name, 256)\n    library.need(answer, 'it')",
        "if missing := context.infer_shapes(): raise error",
    ],
)
def test_an_answer_that_is_checked_is_not(line, returns) -> None:
    assert unchecked(f"def build():\n    {line}\n", returns) == []


def numbered_flags(text: str) -> list[str]:
    """Flags of TensorRT that stand as numbers, which differ between versions, in a source."""
    found = []
    for node in ast.walk(ast.parse(text)):
        shifted = isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift)
        if shifted and ast.unparse(node) not in ("1 << int(flag)", "4 << 30"):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            numbers = [a for a in node.args if isinstance(a, ast.Constant) and type(a.value) is int]
            if node.func.attr in ("create_network", "set_flag", "clear_flag") and numbers:
                found.append(ast.unparse(node))
    return found


def test_flags_are_never_numbers() -> None:
    """They were renumbered in 11.0: 1 << 1 was strongly typed, and is another thing there."""
    for path in SOURCES:
        assert numbered_flags(path.read_text(encoding="utf-8")) == []
    assert numbered_flags("network = builder.create_network(1 << 1)") == ["1 << 1"]
    assert numbered_flags("network = builder.create_network(2)") == ["builder.create_network(2)"]
