"""Errors a user can mend: one tree, each with a message (what was found) and a hint (what to do).

The command line prints ``error: <message>`` and ``hint: <hint>`` and exits with code 2.
"""

from __future__ import annotations

from arnet.kernels.errors import ArnetError as ArnetError
from arnet.kernels.errors import KernelError as KernelError

UPDATE = "update arnet: git pull and pip install . in its checkout"
"""Hint for what a newer version wrote."""


def install(extra: str) -> str:
    """Hint that installs an optional part: from the checkout, for PyPI's arnet is another package.

    Args:
        extra: its name in pyproject.toml.
    """
    return f"in a checkout of arnet: pip install '.[{extra}]'"


class FileError(ArnetError):
    """A file that cannot be read, whatever it holds."""


class ImageError(ArnetError):
    """A photograph or a mask that cannot be read."""


class AnnotationError(ArnetError):
    """A support set whose annotations are missing, ambiguous or wrong."""


class LostObjectError(AnnotationError):
    """A mask that shows the model no object.

    Attributes:
        what: the message without the number of the support, for whoever knows its name.
        number: which of the masks that were given, from 0.
    """

    def __init__(self, what: str, hint: str, number: int, count: int) -> None:
        super().__init__(f"support {number + 1} of {count}: {what}", hint)
        self.what = what
        self.number = number


class SizeMismatchError(AnnotationError):
    """An annotation of another size than its photograph.

    Attributes:
        swapped: whether the one has the width for the other's height, and the reverse.
    """

    def __init__(self, message: str, hint: str, swapped: bool) -> None:
        super().__init__(message, hint)
        self.swapped = swapped


class DataError(ArnetError):
    """A data set whose folders, lists or masks are not as its format says."""


class ConfigError(ArnetError):
    """A configuration with an unknown key, a wrong type or values that contradict each other."""


class CheckpointError(ArnetError):
    """A checkpoint that is damaged, of another architecture or of a newer version."""


class BundleError(ArnetError):
    """A bundle that is damaged, edited, of another format or of a newer version."""


class StateError(ArnetError):
    """A support state that is damaged or that does not fit the bundle."""


class EngineError(ArnetError):
    """An engine that is not there, or that does not do what was asked."""


class AbsentEngineError(EngineError):
    """An engine that is not installed, or that the bundle is not made for: nothing is broken."""


class BuildError(ArnetError):
    """A TensorRT plan that cannot be built, or that is not what was asked for."""


class TrainingError(ArnetError):
    """A training that cannot go on."""


class OutputError(ArnetError):
    """A result that could not be written."""


class MissingDependencyError(ArnetError):
    """A package that an optional part of ARNet needs and that is not installed."""
