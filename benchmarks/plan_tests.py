"""The tests of plans that are marked ``gpu``: a step of its own, as TensorRT builds for minutes."""

from __future__ import annotations

from benchmarks import gpu_tests
from benchmarks.recorder import Recorder, main


def work(recorder: Recorder) -> None:
    """The row of the step. ``benchmarks.plans`` builds the other precisions."""
    gpu_tests.work(recorder, "plan-tests", "-k", "fp32 or fp16")


if __name__ == "__main__":
    main(work)
