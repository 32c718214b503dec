"""Of several sets of plans the one that fits GPU and TensorRT is taken, or what is needed told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arnet.runtime.bundle import PlanSet, PlanStage
from arnet.runtime.engines.plan_choice import Found, choose
from arnet.runtime.errors import EngineError

BUILT = PlanSet(
    precision="fp16",
    tensorrt="11.4.0.106",
    cuda="13.0",
    driver="580",
    gpu="NVIDIA H200",
    capability=(9, 0),
    hardware="none",
    version_compatible=False,
    plugins=(),
    shots=(1, 5, 10),
    classes=(1, 1, 4),
    stages={"decode": PlanStage("decode.plan", {"float16": 3})},
)
HERE = Found("11.4.0.106", "NVIDIA H200", (9, 0))


@pytest.mark.parametrize(
    ("plans", "here", "fits"),
    [
        ({}, {}, True),
        ({}, {"tensorrt": "11.4.0.107"}, False),
        ({}, {"tensorrt": "11.4.0.106.post1"}, True),
        ({}, {"gpu": "NVIDIA H100"}, False),
        ({"hardware": "same-capability"}, {"gpu": "NVIDIA H100"}, True),
        ({"hardware": "same-capability"}, {"capability": (8, 9)}, False),
        ({"hardware": "ampere-plus"}, {"gpu": "NVIDIA A10", "capability": (8, 6)}, True),
        ({"hardware": "ampere-plus"}, {"gpu": "Tesla T4", "capability": (7, 5)}, False),
        ({"version_compatible": True}, {"tensorrt": "11.5.1.2"}, True),
        ({"version_compatible": True}, {"tensorrt": "11.3.0.99"}, False),
        ({"version_compatible": True}, {"tensorrt": "12.0.0.1"}, False),
    ],
)
def test_what_fits(plans: dict, here: dict, fits: bool) -> None:
    built, found = replace(BUILT, **plans), replace(HERE, **here)
    if fits:
        assert choose([built], found, "") is built
    else:
        with pytest.raises(EngineError):
            choose([built], found, "")


def test_what_was_built_most_closely_is_taken() -> None:
    portable = replace(BUILT, hardware="ampere-plus")
    similar = replace(BUILT, hardware="same-capability")
    compatible = replace(BUILT, tensorrt="11.2.1.2", version_compatible=True)
    assert choose([portable, similar, BUILT], HERE, "") is BUILT
    assert choose([portable, similar], HERE, "") is similar
    assert choose([compatible, portable], HERE, "") is portable
    assert choose([compatible], HERE, "") is compatible


def test_what_is_needed_and_what_to_type() -> None:
    newer = replace(BUILT, hardware="ampere-plus", version_compatible=True, tensorrt="11.9.0.1")
    with pytest.raises(EngineError) as caught:
        choose([BUILT, newer], Found("11.2.1.2", "NVIDIA L4", (8, 9)), "arnet export --engine fp16")
    assert caught.value.message == (
        "the bundle's TensorRT plans need an NVIDIA H200 (sm_90) with TensorRT 11.4.0.106; or a GPU"
        " of sm_80 or newer with TensorRT 11.9.0.1 or a newer one of the same major version; found"
        " are an NVIDIA L4 (sm_89) with TensorRT 11.2.1.2"
    )
    assert caught.value.hint.endswith("arnet export --engine fp16")
