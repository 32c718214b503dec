"""torch.compile: of the model as drawn, which is to be beaten, and of our stages."""

from __future__ import annotations

from functools import partial

import torch

from arnet.export.torch_kernels import Options
from benchmarks.models import Task
from benchmarks.query import HALF, check, measured, told
from benchmarks.recorder import Recorder, main
from benchmarks.timing import device_of


def work(recorder: Recorder) -> None:
    """All rows of the step; our stages as they are run beside, since clocks differ."""
    device = device_of(recorder.dry_run)
    task = Task(device, recorder.dry_run)
    backend = "aot_eager" if recorder.dry_run else "inductor"
    compiled = partial(torch.compile, backend=backend, dynamic=False)
    with torch.inference_mode():
        usual = task.ours(HALF)
        model = task.half()

        def drawn() -> None:
            step = task.drawn(model, torch.float16, compiled=compiled)
            replays = {"ours": usual, "compile": task.replay(step)}
            check(recorder, replays, "ours", task)
            found = measured(recorder, replays, task)
            ours, other = found["ours"], found["compile"]
            ratio = other["host"] / ours["host"]
            recorder.row("query/compile", ratio, detail=told(ours, other))

        def in_a_graph() -> None:
            step = task.drawn(model, torch.float16, compiled=compiled)
            replays = {"ours": usual, "compile, graph": task.replay(step, "one")}
            found = measured(recorder, replays, task)
            ours, other = found["ours"], found["compile, graph"]
            ratio = other["host"] / ours["host"]
            recorder.row("query/compile-graph", ratio, detail=told(ours, other))

        def stages() -> None:
            replays = {
                "ours": usual,
                "ours compiled": task.ours(Options(precision="fp16", compiled=backend)),
            }
            check(recorder, replays, "ours", task)
            found = measured(recorder, replays, task)
            ours, other = found["ours compiled"], found["ours"]
            beside = f"without torch.compile {other['device']:.3f} and {other['host']:.3f} ms"
            recorder.row("query/compiled-device", ours["device"], detail=beside)
            recorder.row("query/compiled-host", ours["host"], detail=beside)

        recorder.attempt("query/compile", drawn)
        recorder.attempt(["query/compiled-device", "query/compiled-host"], stages)
        recorder.attempt("query/compile-graph", in_a_graph)


if __name__ == "__main__":
    main(work)
