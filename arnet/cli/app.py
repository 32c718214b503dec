"""The program: its commands and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import io
import sys
from typing import Annotated

import typer

from arnet.cli import bench, console, evaluate, export, infer, kernels, train
from arnet.runtime.errors import ArnetError, OutputError
from arnet.version import __version__

app = typer.Typer(
    name="arnet",
    help="Few-shot segmentation you can deploy: from five photographs of a thing, with a mask or "
    "a box on each, to that thing cut out of every photograph.",
    epilog="arnet COMMAND --help teaches a command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
# What is left over may be a pattern that the shell expanded, which infer tells.
app.command("infer", context_settings={"allow_extra_args": True})(infer.infer)
app.command("export")(export.export)
app.command("parity")(export.parity)
app.command("bench")(bench.bench)
app.add_typer(kernels.app, name="kernels")

_debug = False


def _show_version(value: bool) -> None:
    if value:
        console.out.print(f"arnet {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the program; an error that the user can mend is printed and exits with code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # The name of a file may be no text in any encoding; stderr is as lenient from the start.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        except OSError as error:
            # Whatever was being read or written, such as the log of a training.
            place = f": {error.filename}" if error.filename else ""
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutputError(
                    f"the disk is full{place}", "make space, or write to another disk"
                ) from error
            if error.filename is None:
                raise
            raise OutputError(
                f"{error.strerror}{place}", "check the path and its permissions"
            ) from error
    except ArnetError as error:
        if _debug:
            raise
        console.show_error(error)
        sys.exit(2)
