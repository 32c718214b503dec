"""Shapes, arguments and launch arithmetic, and the language they are written in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from arnet.kernels.catalogue import (
    FORGET_ENHANCE,
    KERNELS,
    MASKED_POOL,
    MASKED_SHIFT_SUM,
    POSTPROCESS_MASK,
    kernel,
)
from arnet.kernels.errors import KernelError
from arnet.kernels.expressions import evaluate, names_in
from arnet.kernels.spec import bits_of

# The language.


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("h*w - 1", 34), ("cdiv(h*w, 4)", 9), ("min(h, w)//2", 2), ("max(h, w*3)", 21)],
)
def test_expressions_are_evaluated(text: str, value: int) -> None:
    assert evaluate(text, {"h": 5, "w": 7}) == value


@pytest.mark.parametrize(
    "text",
    ["4*h", "1 + h", "h/2", "h**2", "-h", "h if w else 2", "f(h, w)", "cdiv(h)", "h.x", "2.5", "",
     "True", "cdiv(h, w, h)", "__import__('os')", "(h", "h//(w - h)"],
)  # fmt: skip
def test_what_is_not_in_the_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        names_in(text)


def test_a_name_without_a_value_is_named() -> None:
    with pytest.raises(ValueError, match="'w'"):
        evaluate("h*w", {"h": 5})


class Symbol:
    """A symbolic integer of TensorRT: a number may stand on its right only."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _with(self, operator: str, other: object) -> Symbol:
        right = other.text if isinstance(other, Symbol) else str(other)
        return Symbol(f"({self.text} {operator} {right})")

    __add__ = lambda self, other: self._with("+", other)  # noqa: E731
    __sub__ = lambda self, other: self._with("-", other)  # noqa: E731
    __mul__ = lambda self, other: self._with("*", other)  # noqa: E731
    __floordiv__ = lambda self, other: self._with("//", other)  # noqa: E731

    def __bool__(self) -> bool:
        raise TypeError("a symbolic integer has no truth")


def symbolic(name: str):
    return lambda first, second: Symbol(f"{name}({first.text}, {getattr(second, 'text', second)})")


@pytest.mark.parametrize("name", KERNELS)
def test_symbolic_integers_give_what_pythons_do(name: str) -> None:
    spec = KERNELS[name]
    texts = [*spec.grid, *spec.block, *spec.extras, *(t for o in spec.outputs for t in o.shape)]
    functions = {function: symbolic(function) for function in ("cdiv", "min", "max")}
    for text in texts:
        names = names_in(text)
        found = evaluate(text, {n: Symbol(n) for n in names}, functions)
        values = {n: 11 + 2 * i for i, n in enumerate(sorted(names))}
        again = evaluate(found.text, values) if isinstance(found, Symbol) else found
        assert again == evaluate(text, values)


# Launches.


def test_the_plan_of_a_launch_by_hand() -> None:
    plan = MASKED_POOL.plan("float16", [(1, 255, 60, 60), (5, 1, 60, 60)], area=1)
    assert plan.entry == "masked_pool_f16"
    assert (plan.grid, plan.block, plan.shared) == ((64, 2, 1), (512, 1, 1), 0)
    assert plan.extras == (5, 255, 3600, 1)
    assert plan.outputs == (((5, 255), "float16"),)


@pytest.mark.parametrize(
    ("count", "channels", "grid"),
    [
        (1, 256, (128, 1, 1)),
        (3, 256, (128, 1, 1)),
        (4, 256, (64, 2, 1)),
        (10, 256, (64, 2, 1)),
        (11, 256, (64, 3, 1)),
        (1, 1023, (512, 1, 1)),
        (5, 1025, (257, 1, 1)),
        (6, 1024, (256, 2, 1)),
    ],
)
def test_a_block_pools_two_channels_or_four(
    count: int, channels: int, grid: tuple[int, int, int]
) -> None:
    plan = MASKED_POOL.plan("float16", [(1, channels, 6, 6), (count, 1, 6, 6)], area=1)
    assert plan.grid == grid


@pytest.mark.parametrize(
    ("width", "places", "blocks"), [(60, 4, 8), (62, 2, 15), (61, 1, 29), (63, 1, 30), (2, 2, 1)]
)
def test_shift_sum_has_a_thread_for_as_many_places_as_divide_the_width(
    width: int, places: int, blocks: int
) -> None:
    shapes = [(1, 9 * 5, 60, width), (3, 1, 60, width), (3, 5, 60, width), (3, 9, 5)]
    plan = MASKED_SHIFT_SUM.plan("float32", shapes)
    assert plan.grid == (blocks, 3, 1)
    threads = blocks * 128
    assert threads * places >= 60 * width > (threads - 128) * places


def test_a_float_goes_as_the_bits_of_its_float32() -> None:
    plan = POSTPROCESS_MASK.plan("float32", [(2, 5, 5)], height=9, width=8, threshold=0.1)
    assert np.int32(plan.extras[-1]).view(np.float32) == np.float32(0.1)
    assert bits_of(1e-5) == 925353388


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 4, 6, 6)],
        [(1, 4, 6, 6), (2, 1, 6, 5)],
        [(2, 4, 6, 6), (2, 1, 6, 6)],
        [(1, 4, 6, 6), (2, 6, 6)],
        [(1, 4, 6, 6), (0, 1, 6, 6)],
    ],
)
def test_shapes_that_do_not_fit_are_told(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(KernelError, match=r"features \(1, C, h, w\), masks \(T, 1, h, w\)"):
        MASKED_POOL.plan("float32", shapes, area=1)


def test_parameters_that_are_missing_or_unknown_are_told() -> None:
    shapes = [(3, 8), (2, 24, 8, 2), (2, 24)]
    with pytest.raises(KernelError, match=r"\['block', 'dilation'\], not \['block'\]"):
        FORGET_ENHANCE.plan("float32", shapes, block=0)


def test_a_grid_beyond_the_limits_is_told() -> None:
    with pytest.raises(KernelError, match="65535"):
        kernel("postprocess").plan("float32", [(1, 5, 5)], height=300000, width=5)


def test_an_unknown_kernel_or_number_format_is_told() -> None:
    with pytest.raises(KernelError, match="masked_pool"):
        kernel("masked_pol")
    with pytest.raises(KernelError, match="float16"):
        MASKED_POOL.entry("float64")


@pytest.mark.parametrize("extras", [("T", "Q"), ("4*T",), ("threshold + 1",)])
def test_a_spec_with_a_mistake_is_refused(extras: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"postprocess_mask|left"):
        replace(POSTPROCESS_MASK, extras=extras)


@pytest.mark.parametrize("name", ["preprocess", "postprocess_labels", "masked_pool_resized"])
def test_what_int32_does_not_hold_is_refused(name: str) -> None:
    spec = KERNELS[name]
    if name == "preprocess":
        colours = {key: 0.5 for key in spec.parameters if key != "size"}
        spec.plan("float32", [(100, 2_000_000, 3)], size=473, **colours)
        with pytest.raises(KernelError, match="not all int32"):
            spec.plan("float32", [(100, 2_300_000, 3)], size=473, **colours)
    elif name == "postprocess_labels":
        with pytest.raises(KernelError, match="not all int32"):
            spec.plan("float32", [(1, 60, 60)], height=20, width=20_000_000, threshold=0.0)
    else:
        with pytest.raises(KernelError, match="not all int32"):
            spec.plan("float32", [(1, 3, 2, 600), (1, 1, 2, 2_000_000)], area=1)
