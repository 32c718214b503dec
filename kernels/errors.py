"""The root of all errors that a user can mend, and the one that kernels raise.

It stands here, in the lowest layer, because every other layer may import this one.
"""

from __future__ import annotations


class ArnetError(Exception):
    """Something the user can mend.

    Attributes:
        message: what was found and what was needed, one sentence, naming the file or the key.
        hint: how to mend it, where possible the command to type. May be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class KernelError(ArnetError):
    """A kernel that cannot be compiled or loaded, or that is given what does not fit it."""
