"""The sizes that a plan takes, least, usual and most, for each input of a stage."""

from __future__ import annotations

from dataclasses import dataclass

from arnet.runtime.bundle import Stage
from arnet.runtime.bundle.plans import Range
from arnet.runtime.errors import BuildError

Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
"""Least, usual and most shape of each input that has a dynamic dimension."""


@dataclass(frozen=True)
class Sizes:
    """How many shots and classes plans are for.

    Attributes:
        shots: of one class.
        classes: in one call of ``decode``.
    """

    shots: Range
    classes: Range

    def of(self, stage: str) -> dict[str, Range]:
        """What the names of dynamic dimensions mean in a stage.

        ``decode`` takes the shots of all its classes together, the others those of one.
        """
        if stage != "decode":
            return {"shots": self.shots}
        least, usual, most = (s * c for s, c in zip(self.shots, self.classes, strict=True))
        return {"shots": (least, usual, most), "classes": self.classes}


def sizes_for(most_shots: int, most_classes: int, fixed: int | None, together: bool) -> Sizes:
    """From one shot and class to the most; five shots are usual, as in the paper.

    Args:
        most_shots: of one class.
        most_classes: in one call.
        fixed: the only number of shots that the model takes, if there is one.
        together: whether the model decodes several classes in one call.
    """
    shots = (fixed,) * 3 if fixed else (1, min(5, most_shots), most_shots)
    return Sizes((shots[0], shots[1], shots[2]), (1, 1, most_classes if together else 1))


def profile(name: str, stage: Stage, sizes: Sizes) -> Profile:
    """The shapes of the inputs that have dynamic dimensions.

    Args:
        name: of the stage.
        stage: its interface.
        sizes: what the plan is for.

    Raises:
        BuildError: a dimension is neither shots nor classes.
    """
    known = sizes.of(name)
    found: Profile = {}
    for tensor in stage.inputs:
        names = [size for size in tensor.shape if isinstance(size, str)]
        if strange := set(names) - set(known):
            raise BuildError(
                f"{tensor.name} of the stage '{name}' has a dimension {min(strange)!r}, for which"
                " no plan can be built",
                "Export with --engine onnx.",
            )
        if names:
            least, usual, most = (
                tuple(
                    known[size][index] if isinstance(size, str) else size for size in tensor.shape
                )
                for index in range(3)
            )
            found[tensor.name] = (least, usual, most)
    return found
