"""TensorRT, where it is installed: plans of every precision, their gate, and the query's time."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from arnet.runtime.segmenter import Segmenter
from benchmarks.models import CHECKPOINT, EXAMPLES, ROOT, Task
from benchmarks.recorder import Recorder, main
from benchmarks.rows import PLANS, ROWS
from benchmarks.timing import device_of

PROGRAM = "import benchmarks; from arnet.cli import main; main()"
"""``arnet``, with pydantic or what stands in for it."""

MILLI = 1000
LIMIT = 150
REPEATS = 100


def export(checkpoint: Path, out: Path, engine: str, *options: str) -> tuple[Path, str]:
    """``arnet export``: the bundle, which has another name if the gate refused it, and its words.

    Raises:
        RuntimeError: there is no bundle.
    """
    command = [sys.executable, "-c", PROGRAM, "export", "--checkpoint", str(checkpoint),
               "--support", str(EXAMPLES / "horse"), "--engine", engine, "--out", str(out),
               *options]  # fmt: skip
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    sys.stdout.write(finished.stdout[-3000:] + finished.stderr[-3000:])
    failed = out.with_name(f"{out.name}.failed")
    found = out if out.exists() else failed
    if not found.exists():
        lines = [line for line in finished.stderr.splitlines() if line.strip()]
        wrong = [line for line in lines if line.startswith("error:")]
        raise RuntimeError((wrong or lines or [f"exit code {finished.returncode}"])[-1])
    return found, "passed" if found == out else "out of bounds"


def gate(recorder: Recorder, folder: Path, precision: str) -> None:
    """A row: plans of one precision."""
    bundle, judged = export(CHECKPOINT, folder / precision, precision)
    manifest = json.loads((bundle / "manifest.json").read_text())
    built = {
        name: stage["built"] for plan in manifest["plans"] for name, stage in plan["stages"].items()
    }
    parity = manifest["parity"] or {}
    detail = f"gate {judged}; changed pixels {100 * parity.get('changed', 1):.3g} %; built {built}"
    recorder.row(f"tensorrt/{precision}", passed=judged == "passed", detail=detail)


def query(bundle: Path, task: Task) -> tuple[float, float | None]:
    """Milliseconds of a query for the label map, host to host, and by the GPU's clock if told."""
    segmenter = Segmenter.load(bundle, engine="tensorrt")
    state = segmenter.learn(task.images, task.masks)
    host, device = [], []
    for number in range(REPEATS + 10):
        photograph = task.queries[number % len(task.queries)]
        began = time.perf_counter()
        (found,) = segmenter.label([photograph], {"object": state})
        if number >= 10:
            host.append(time.perf_counter() - began)
            parts = {name: spent for name, spent in found.device.items() if name != "enqueue"}
            device += [sum(parts.values())] if parts else []
    segmenter.close()
    return (
        MILLI * statistics.median(host),
        MILLI * statistics.median(device) if device else None,
    )


def times(recorder: Recorder, folder: Path) -> None:
    """The rows of the query, with plugins and without."""
    from arnet.checkpoint import save_checkpoint
    from arnet.config import Config, DataConfig

    task = Task(device_of(recorder.dry_run))
    config = replace(Config(), model=task.model.config, data=DataConfig(image_size=task.size))
    checkpoint = folder / "resnet50.safetensors"
    save_checkpoint(checkpoint, task.model, config, {})
    bundle, judged = export(checkpoint, folder / "resnet50", "fp16")
    host, device = query(bundle, task)
    recorder.row("tensorrt/host", host, detail=f"gate of random weights: {judged}")
    if device is None:
        recorder.skip(["tensorrt/device"], "the engine does not tell it")
    else:
        recorder.row("tensorrt/device", device)
    plain, _ = export(checkpoint, folder / "plain", "fp16", "--plugins", "off")
    without, _ = query(plain, task)
    recorder.row("tensorrt/plugins", without / host, detail=f"{host:.3f} ms against {without:.3f}")


def work(recorder: Recorder) -> None:
    """All rows of the step."""
    rows = [name for name, row in ROWS.items() if row.step == "tensorrt"]
    for module, name in (("tensorrt", "TensorRT"), ("onnxruntime", "onnxruntime")):
        if importlib.util.find_spec(module) is None:
            recorder.skip(rows, f"{name} is not installed")
            return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder.attempt("tensorrt/fp16", partial(gate, recorder, folder, "fp16"))
        speed = ["tensorrt/host", "tensorrt/device", "tensorrt/plugins"]
        recorder.attempt(speed, partial(times, recorder, folder))
        for precision in PLANS:
            row = f"tensorrt/{precision}"
            if row not in recorder.rows:
                recorder.attempt(row, partial(gate, recorder, folder, precision))


if __name__ == "__main__":
    main(work)
