"""Which of a bundle's sets of TensorRT plans runs on this GPU with this TensorRT."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from arnet.runtime.bundle import PlanSet
from arnet.runtime.errors import EngineError

_AMPERE = (8, 0)
_PREFERRED = ("none", "same-capability", "ampere-plus")  # the fastest first


@dataclass(frozen=True)
class Found:
    """What there is.

    Attributes:
        tensorrt: version of TensorRT, such as "11.4.0.106".
        gpu: name of the GPU.
        capability: its compute capability.
    """

    tensorrt: str
    gpu: str
    capability: tuple[int, int]


def choose(plans: Sequence[PlanSet], found: Found, command: str) -> PlanSet:
    """The set that fits; of several the one that was built most closely for what there is.

    Args:
        plans: of the bundle.
        found: what there is.
        command: that builds what fits.

    Raises:
        EngineError: naming what was found and what the plans need.
    """
    fitting = [one for one in plans if _gpu_fits(one, found) and _version_fits(one, found.tensorrt)]
    if not fitting:
        needed = "; or ".join(dict.fromkeys(map(_needed, plans)))
        raise EngineError(
            f"the bundle's TensorRT plans need {needed}; found are {_shown(found)}",
            f"Build plans on this machine: {command}",
        )
    exact = [one for one in fitting if numbers(one.tensorrt) == numbers(found.tensorrt)]
    return min(exact or fitting, key=lambda one: _PREFERRED.index(one.hardware))


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version of TensorRT: "10.13.3.9.post1" gives (10, 13, 3, 9)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def _gpu_fits(plans: PlanSet, found: Found) -> bool:
    if plans.hardware == "ampere-plus":
        return found.capability >= _AMPERE
    same = plans.capability == found.capability
    return same and (plans.hardware == "same-capability" or plans.gpu == found.gpu)


def _version_fits(plans: PlanSet, version: str) -> bool:
    """A plan runs on the version that built it, a compatible one also on newer of its major."""
    built, found = numbers(plans.tensorrt), numbers(version)
    return built == found or (plans.version_compatible and found[:1] == built[:1] and found > built)


def _needed(plans: PlanSet) -> str:
    major, minor = plans.capability
    gpu = {
        "none": f"an {plans.gpu} (sm_{major}{minor})",
        "same-capability": f"a GPU of sm_{major}{minor}",
        "ampere-plus": "a GPU of sm_80 or newer",
    }[plans.hardware]
    newer = " or a newer one of the same major version" if plans.version_compatible else ""
    return f"{gpu} with TensorRT {plans.tensorrt}{newer}"


def _shown(found: Found) -> str:
    major, minor = found.capability
    return f"an {found.gpu} (sm_{major}{minor}) with TensorRT {found.tensorrt}"
