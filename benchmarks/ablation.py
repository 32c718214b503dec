"""What each kernel and the graphs bring to a query: the same with one of them left out."""

from __future__ import annotations

from functools import partial

import torch

from arnet.export.torch_kernels import Options, ablations
from benchmarks.models import Task
from benchmarks.query import HALF, measured
from benchmarks.recorder import Recorder, main
from benchmarks.rows import LEFT_OUT
from benchmarks.timing import device_of


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    task = Task(device_of(recorder.dry_run), recorder.dry_run)
    with torch.inference_mode():
        usual = task.ours(HALF)

        def without(row: str, options: Options, clock: str) -> None:
            name = row.removeprefix("without/")
            replays = {"ours": usual, f"without {name}": task.ours(options)}
            found = measured(recorder, replays, task)
            other = found[f"without {name}"]
            detail = f"{clock} time; with it {found['ours'][clock]:.3f} ms in the same run"
            recorder.row(row, other[clock], detail=detail)

        options = ablations(HALF)
        for name in LEFT_OUT:
            row = f"without/{name}"
            recorder.attempt(row, partial(without, row, options[f"no {name}"], "device"))
        for name, clock in (("kernels", "device"), ("graphs", "host")):
            row = f"without/{name}"
            recorder.attempt(row, partial(without, row, options[f"no {name}"], clock))


if __name__ == "__main__":
    main(work)
