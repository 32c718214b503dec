"""Does torch with our kernels on a GPU answer like the checkpoint in float32 on the processor?"""

from __future__ import annotations

from functools import partial

from arnet.export.acceleration import Precision
from arnet.export.torch_kernels import Options, TorchKernels
from arnet.runtime.benchmark.accuracy import cases, compare
from arnet.runtime.benchmark.workload import read_workload
from benchmarks.models import CHECKPOINT, EXAMPLES
from benchmarks.recorder import Recorder, main
from benchmarks.timing import device_of


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    from arnet.checkpoint import load_checkpoint
    from arnet.segmenter import TorchSegmenter

    device = device_of(recorder.dry_run)
    workload = read_workload(EXAMPLES / "horse", str(EXAMPLES / "queries"))
    questions = [case for case in cases(workload) if case.truth is not None]
    size = 97 if recorder.dry_run else None
    questions = questions[:1] if recorder.dry_run else questions

    def judged(precision: Precision) -> None:
        loaded = load_checkpoint(CHECKPOINT)
        side = size or loaded.config.data.image_size
        reference = TorchSegmenter(loaded, "checkpoint", "cpu", side)
        ours = TorchKernels(loaded.model, side, str(device), Options(precision=precision))
        found = compare({"model": reference, "ours": ours}, questions, "model")
        model, other = found["model"].mean_iou(), found["ours"].mean_iou()
        detail = f"arnet-r18, {side} px, {len(questions)} photographs"
        changed = found["ours"].changed_percent()
        recorder.row(f"parity/{precision}/changed", changed, detail=detail)
        if precision == "fp32":
            largest = found["ours"].largest_difference
            recorder.row("parity/fp32/probability", largest, detail=detail)
        elif model is not None and other is not None:
            gap = f"{detail}; {model:.2f} becomes {other:.2f}"
            recorder.row("parity/fp16/mean_iou", abs(other - model), detail=gap)

    for precision, second in (("fp32", "probability"), ("fp16", "mean_iou")):
        rows = [f"parity/{precision}/changed", f"parity/{precision}/{second}"]
        recorder.attempt(rows, partial(judged, precision))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(work)
