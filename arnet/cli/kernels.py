"""``arnet kernels``: the CUDA kernels of the GPU engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arnet.cli import console

app = typer.Typer(
    help="The CUDA kernels: compile them ahead of time.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _group() -> None:
    """Keeps ``build`` a word of its own while it is the only command."""


@app.command()
def build(
    arch: Annotated[
        list[str],
        typer.Option(
            help="What for: sm_90 makes code for that GPU, compute_80 PTX for it and all newer "
            "ones. Repeat it for more.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder that the code is written to.")] = Path("cubins"),
) -> None:
    """Compile the kernels for a machine that has no compiler.

    There, ARNET_KERNELS names the folder. Where NVRTC is installed none of this is needed: it
    compiles what a GPU needs when it is first used, and keeps it.
    """
    from arnet.kernels.binaries import build as build_kernels
    from arnet.kernels.catalogue import SOURCES

    with console.progress_bar() as progress:
        task = progress.add_task("kernels", total=len(arch) * len(SOURCES))
        files = build_kernels(arch, out, lambda _: progress.advance(task))
    size = sum(path.stat().st_size for path in files) / 1e6
    console.out.print(f"{len(files)} files, {size:.1f} MB, in {out}")
    console.out.print(f"On the other machine: export ARNET_KERNELS={out.resolve()}")
