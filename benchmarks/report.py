"""Writes docs/gpu-results.md and docs/gpu-results.json from the results of ``gpu.sh``.

python -m benchmarks.report [RESULTS.json]

Without results the page is written again from the JSON that is there. Results of a rehearsal, or in
which a step has not run, leave docs/ as they are: every other row would lose its figure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from arnet.runtime.errors import ArnetError
from arnet.runtime.files import atomic_write
from benchmarks.rows import ROWS, Row, verdict

DOCS = Path(__file__).parents[1] / "docs"
FORMAT = "arnet-gpu-results"
SCHEMA_VERSION = 1
NOT_YET_RUN = "not yet run"
NOTHING: dict[str, Any] = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "steps": {}}


class IncompleteError(ValueError):
    """Results that do not replace those in docs/."""


INTRODUCTION = """# Results on a GPU

Written by `benchmarks/report.py` from [gpu-results.json](gpu-results.json); do not edit it.
On a machine with an NVIDIA GPU,

```
benchmarks/gpu.sh
```

measures and checks what is below, the most important first, for ten minutes at most, and writes
this page again, unless a whole step found no time. It needs torch, torchvision, cuda-core, onnx,
onnxscript, safetensors, PyYAML, typer, rich and Pillow, for plans also TensorRT and onnxruntime,
and no network. A rehearsal on a processor is `benchmarks/gpu.sh --dry-run`.
"""

EXPLANATION = """
Times are medians. "Host to host" is from a photograph in the host's memory to the label map there,
"device" the same by the GPU's own clock without both copies. A kernel's floor is what it must read
and write at least, over the bandwidth that a large copy reaches in the same run. float32 is
float32: TF32 is off unless a row says so. The models that are timed have random weights.
"""

STEPS_HEADING = """
| step | ended | s | GPU clock, MHz (least, median, most) | held back |
|---|---|---|---|---|
"""


def page(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    if results.get("dry_run"):
        parts.append("\n**A rehearsal on a processor: nothing below is a figure of a GPU.**\n")
    elif not results["steps"]:
        parts.append("\n**Nothing of this has run on a GPU yet.**\n")
    parts.append(machine(results))
    parts.append(EXPLANATION)
    group = ""
    for name, row in ROWS.items():
        if row.group != group:
            group = row.group
            parts.append(
                f"\n## {group}\n\n| | target | measured | reached | |\n|---|---|---|---|---|\n"
            )
        parts.append(line(row, found(results, name), bool(results.get("dry_run"))))
    return "".join(parts)


def found(results: dict[str, Any], name: str) -> dict[str, Any]:
    """What the results say of a row; one that its step was stopped before has not run."""
    for step in results["steps"].values():  # a row may have been another step's when it ran
        if name in step["rows"]:
            row: dict[str, Any] = step["rows"][name]
            return row
    step = results["steps"].get(ROWS[name].step)
    if step is None:
        return {"skipped": ""}
    if step["status"] in ("skipped", "stopped"):
        return {"skipped": step["error"]}
    return {"error": step["error"] or "the step did not come to it"}


def line(row: Row, result: dict[str, Any], rehearsed: bool = False) -> str:
    """A row of a table; of a rehearsal it tells no figure."""
    target = "" if row.target is None else f"{_sign(row.target[0])} {row.target[1]:g} {row.unit}"
    detail = result.get("detail", "")
    if "skipped" in result:
        measured, reached = NOT_YET_RUN, ""
        detail = result["skipped"]
    elif "error" in result:
        measured, reached = "failed", "no" if row.target is not None else ""
        detail = result["error"]
    elif rehearsed:
        measured, reached, detail = "rehearsed", "", ""
    else:
        value, passed = result["value"], result["passed"]
        measured = "" if value is None else f"{number_for(row, value)} {row.unit}"
        reached = "" if passed is None else "yes" if passed else "**no**"
    cells = (row.what, target.strip(), measured.strip(), reached, detail)
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |\n"


def machine(results: dict[str, Any]) -> str:
    """What it ran on, and how the steps ended."""
    if not results["steps"]:
        return ""
    ran = f"Run on {results['date']}"
    if command := results.get("command"):
        ran += f" by `{command}`"
    if commit := results.get("commit"):
        ran += f" at commit {commit}"
    lines = [f"\n{ran}.\n"]
    facts = results["steps"].get("environment", {}).get("facts", {})
    if device := facts.get("device"):
        lines.append(
            f"\nGPU: {device['name']}, compute capability {device['capability']}, "
            f"{device['multiprocessors']} multiprocessors, "
            f"{device['memory_bytes'] / 2**30:.0f} GiB, L2 {(device['l2_bytes'] or 0) / 2**20:.0f} "
            f"MiB; driver {(facts['machine']['gpu'] or {}).get('driver', 'not told')}, CUDA "
            f"{device['cuda']}, cuDNN {device['cudnn']}.\n"
        )
    if versions := facts.get("versions"):
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"\nSoftware: {told}; NVRTC {facts.get('nvrtc', 'not told')}.\n")
    lines.append(STEPS_HEADING)
    for name, step in results["steps"].items():
        seen = step.get("facts", {}).get("gpu") or {}
        clocks = ", ".join(f"{clock:g}" for clock in seen.get("sm_clock_mhz") or [])
        held = ", ".join(
            f"{reason} {100 * share:.0f} %" for reason, share in seen.get("held_back", {}).items()
        )
        ended = step["status"] + (f": {step['error']}" if step["error"] else "")
        cells = (name, ended, f"{step['seconds']:g}", clocks, held)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |\n")
    return "".join(lines)


def number(value: float) -> str:
    """A number with the digits that mean something."""
    if value == 0 or 0.01 <= abs(value) < 10000:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.1e}"


def number_for(row: Row, value: float) -> str:
    """A value of a row, with the digits it takes to be on its side of the target."""
    text, digits = number(value), 3
    while verdict(row, float(text)) != verdict(row, value):
        digits += 1
        text = f"{value:.{digits}g}"
    return text


def write(results: dict[str, Any], folder: Path = DOCS, anew: bool = False) -> None:
    """Write the page and its JSON, each whole or not at all.

    Args:
        results: of all steps.
        folder: where to.
        anew: whether they are those that are there, which may be older than some step.

    Raises:
        ValueError: they are no results.
        IncompleteError: they are no results of all steps on a GPU.
        OutputError: a file cannot be written.
    """
    if results.get("format") != FORMAT or results.get("schema_version") != SCHEMA_VERSION:
        raise ValueError("this is no result of benchmarks/gpu.sh")
    if results.get("dry_run"):
        raise IncompleteError("a rehearsal on a processor is no result")
    steps = results["steps"]
    ran = {name for name, step in steps.items() if step["status"] != "skipped"}
    missing = [name for name in _all_steps() if name not in ran]
    if missing and not anew:
        raise IncompleteError(f"these steps have not run: {', '.join(missing)}")
    save(results, folder / "gpu-results.json", folder / "gpu-results.md")


def save(results: dict[str, Any], data: Path, text: Path) -> None:
    """Write results as JSON and as a page, each whole or not at all.

    Raises:
        OutputError: a file cannot be written.
    """
    shown = page(results)  # first: what cannot be shown is not stored beside an older page
    for path, content in ((data, json.dumps(results, indent=1) + "\n"), (text, shown)):
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _all_steps() -> list[str]:
    return list(dict.fromkeys(["environment", *(row.step for row in ROWS.values())]))


def _sign(comparison: str) -> str:
    return {"<=": "≤", ">=": "≥"}.get(comparison, comparison)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str], folder: Path = DOCS) -> int:
    """The program; its exit code."""
    path = Path(arguments[0]) if arguments else folder / "gpu-results.json"
    try:
        write(json.loads(path.read_text(encoding="utf-8")), folder, anew=not arguments)
    except IncompleteError as reason:
        sys.stdout.write(f"docs/ stay as they are: {reason}\n")
    except (OSError, ValueError, ArnetError) as error:
        sys.stderr.write(f"error: {path}: {error}\n")
        return 2
    else:
        sys.stdout.write("Written: docs/gpu-results.md and docs/gpu-results.json\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
