"""What every command prints with: a console, errors, progress and the next command."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from arnet.runtime.errors import (
    ArnetError,
    ConfigError,
    MissingDependencyError,
    OutputError,
    install,
)

# Names of files and classes stand in prints and tables as they are: [x] is no markup, :x: no emoji.
out = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def show_error(error: ArnetError) -> None:
    """Print ``error:`` and ``hint:`` to stderr."""
    err.print("error:", style="bold red", end=" ")
    err.print(error.message)
    if error.hint:
        err.print("hint:", style="bold yellow", end=" ")
        err.print(error.hint)


def next_command(*words: object) -> None:
    """The last line of a command: what to type next, its words quoted for the shell."""
    out.print("\nNext:", style="bold", end=" ")
    out.print(shlex.join(str(word) for word in words))


def next_is_to_view(path: Path) -> None:
    """The last line of a command that made pictures: how to look at them."""
    next_command({"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open"), path)


def show_table(table: Table) -> None:
    """Print a table; where there is no terminal, as wide as it wants to be, so that none wraps."""
    place = out
    if not out.is_terminal:
        wanted = Measurement.get(out, out.options.update(max_width=1000), table).maximum
        width = max(out.width, wanted)
        place = Console(file=out.file, width=width, markup=False, emoji=False, highlight=False)
    place.print(table)


def split_words(text: str) -> tuple[str, ...]:
    """The words of an option that takes several, with commas between them."""
    return tuple(word.strip() for word in text.split(","))


def check_files(*paths: Path | None) -> None:
    """Check before the long work that files can be written there; None is no file.

    Nothing stays there, and folders that are missing are not made yet.

    Raises:
        OutputError: one is a folder, or is in a folder that cannot be written to.
    """
    for path in paths:
        if path is None:
            continue
        try:
            if path.is_dir():
                raise OutputError(f"{path} is a folder", "name a file in it")
            folder = next(parent for parent in path.absolute().parents if parent.exists())
            # Tried, since permissions do not tell all: of a read-only disk, for instance.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: {error.strerror or error}",
                "name a file in a folder that can be written to",
            ) from error


def not_with(option: str, others: Mapping[str, object]) -> None:
    """Some options mean nothing beside another; to pass them over would mislead.

    Raises:
        ConfigError: one of them was given, that is, has a value.
    """
    given = [name for name, value in others.items() if value]
    if given:
        raise ConfigError(f"{given[0]} means nothing with {option}", f"leave {given[0]} out")


def check_folder(path: Path) -> None:
    """Check before the long work that files can be written to a folder, which need not be there.

    Raises:
        OutputError: it is a file, or in one, or cannot be written to.
    """
    folder = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder for results", "choose another --out")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written to: {error.strerror or error}",
            "choose an --out in a folder that can be written to",
        ) from error


@contextmanager
def progress_bar(*extra: str) -> Iterator[Progress]:
    """A progress bar on stderr with time left; ``extra`` are fields shown at its end.

    Where stderr is no terminal, such as a log file, there is none.
    """
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *(TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in extra),
    ]
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        yield progress


def need_torch(extra: str = "train") -> None:
    """Check that the ``train`` extra is installed.

    Args:
        extra: what the error says to install: an extra that brings those of ``train``, too.

    Raises:
        MissingDependencyError: it is not.
    """
    need("torch", "torchvision", "safetensors", "pydantic", "yaml", extra=extra)


def need_export() -> None:
    """Check that the ``export`` extra is installed, which contains ``train``: one install does.

    Raises:
        MissingDependencyError: it is not.
    """
    need_torch("export")
    need("onnx", "onnxscript", "onnxruntime", extra="export")


def need(*modules: str, extra: str) -> None:
    """Check that the modules of an extra are installed.

    Raises:
        MissingDependencyError: one of them is not.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise MissingDependencyError(
                f"this command needs {module}, which is not installed",
                install(extra),
            ) from error
