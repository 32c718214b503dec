"""A result as lines and tables of text; whoever prints them decides how they look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from arnet.runtime.benchmark import wording
from arnet.runtime.benchmark.caveats import cell_name, size_name
from arnet.runtime.benchmark.comparison import growths, ratios
from arnet.runtime.benchmark.result import BenchmarkResult, ContenderRecord
from arnet.runtime.benchmark.timing import PERCENTILE_FLOORS, Summary


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: what it shows.
        columns: their names.
        rows: as many cells as columns; a row with one cell is a heading of those that follow.
        footnotes: what must be read with it.
        left: columns that are aligned to the left; the others to the right.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    footnotes: list[str] = field(default_factory=list)
    left: int = 1


def heading(result: BenchmarkResult) -> list[str]:
    """What was measured, on what."""
    found = result.environment
    settings = result.settings
    packages = [f"{name} {version}" for name, version in found["packages"].items() if version]
    used = found["cores_used"]
    lines = [
        f"command      {result.command}" if result.command else "",
        f"processor    {found['cpu'] or wording.NOT_RECORDED}, {found['cores']} cores, governor "
        f"{found['governor'] or wording.NOT_RECORDED}, memory "
        + wording.size(found["memory_bytes"]),
        f"system       {found['os']}, Python {found['python']}, " + ", ".join(packages),
        f"load         average {wording.load(found['load_average'])} before, "
        f"{wording.load(found['load_average_after'])} after; cores used: "
        f"{wording.cores(used['own'])} by this, {wording.cores(used['others'])} by others",
        f"GPU          {wording.gpu(found['gpu'], found['gpu_after'])}"
        + wording.gpu_during(found.get("gpu_during")),
        f"photographs  {_photographs(result)}",
        "measured     wall time of the host, from "
        + ("the photograph's file" if settings["decode"] else "decoded RGB in memory")
        + f" to the mask in memory; at least {settings['duration']:g} s and "
        f"{settings['min_samples']} samples of each, by turns, {1000 * settings['pause']:g} ms "
        "apart; nothing removed",
    ]
    lines += [f"{one.name:<12} {_description(one)}" for one in result.contenders]
    return [line for line in lines if line]


def tables(result: BenchmarkResult) -> list[Table]:
    """Everything that was found, as tables."""
    found = [
        latencies(result),
        stages(result),
        on_device(result),
        openings(result),
        query_ratios(result),
        growth(result),
        accuracy(result),
    ]
    return [table for table in found if table is not None]


def latencies(result: BenchmarkResult) -> Table:
    """Statistics of every scenario and contender, in milliseconds."""
    tails = "/".join(f"p{percent}" for percent in PERCENTILE_FLOORS)
    columns = ["milliseconds", "n", "min", "median", "mean", "sd", tails, "per s"]
    rows: list[list[str]] = []
    whole = {one.name for one in result.contenders if not one.caches_support}
    starred = False
    for m in result.measurements:
        title = cell_name(m)
        if [title] not in rows:
            rows.append([title])
        star = m.contender in whole and m.scenario == "query"
        starred |= star
        found = m.summary
        rows.append(
            [
                f"  {m.contender}{' *' if star else ''}",
                str(found.count),
                *(
                    wording.milliseconds(s)
                    for s in (found.minimum, found.median, found.mean, found.deviation)
                ),
                _tails(found),
                wording.three_digits(1 / found.mean),
            ]
        )
    footnotes = ["* keeps nothing of the supports: its query is the whole episode"]
    return Table("latency", columns, rows, footnotes if starred else [])


def stages(result: BenchmarkResult) -> Table:
    """Where the time goes: the median of every stage, in milliseconds."""
    rows: list[list[str]] = []
    for m in result.measurements:
        title = cell_name(m)
        if [title] not in rows:
            rows.append([title])
        parts = [
            f"{name} {wording.milliseconds(value)}" for name, value in m.stage_medians().items()
        ]
        rows.append([f"  {m.contender}", " · ".join(parts) or "not told"])
    return Table("stages", ["median milliseconds", "stages"], rows, left=2)


def on_device(result: BenchmarkResult) -> Table | None:
    """What a GPU worked, by its own clock, and how long the host took to tell it."""
    rows: list[list[str]] = []
    for m in result.measurements:
        medians = m.device_medians()
        if not medians:
            continue
        title = cell_name(m)
        if [title] not in rows:
            rows.append([title])
        enqueue = medians.pop("enqueue", None)
        parts = " · ".join(
            f"{name} {wording.milliseconds(value)}" for name, value in medians.items()
        )
        told = "-" if enqueue is None else wording.milliseconds(enqueue)
        rows.append([f"  {m.contender}", wording.milliseconds(sum(medians.values())), told, parts])
    if not rows:
        return None
    columns = ["median milliseconds", "device", "enqueue", "by part"]
    footnotes = [
        "device: by the GPU's own events; copies from and to the host belong to it where there",
        "is a part 'query', which is one graph: ARNET_GRAPHS=off tells its parts",
    ]
    return Table("on the GPU", columns, rows, footnotes, left=4)


def openings(result: BenchmarkResult) -> Table:
    """Times that are spent once, and memory."""
    first = size_name(result.settings["shots"][0], result.settings["classes"][0])
    rows, footnotes = [], []
    for one in result.contenders:
        memory: list[str] = ["-"] * 3
        if isinstance(one.memory, str):
            footnotes.append(f"memory of {one.name}: {one.memory}")
        elif "whole" in one.memory:
            memory[2] = wording.size(one.memory["whole"])
            footnotes.append(f"memory of {one.name}: the peak of the whole process")
        else:
            memory = [wording.size(one.memory[name]) for name in ("opened", "support", "query")]
        times = [one.load, one.first["support"], one.first["query"]]
        rows.append([one.name, *(wording.milliseconds(seconds) for seconds in times), *memory])
    footnotes.append(
        f"opening and first calls were timed once, {first}; memory is what "
        "is resident in a process of its own, Python included: once open, and the peaks of "
        "learning and of a query afterwards"
    )
    columns = ["once", "load ms", "first support ms", "first query ms"]
    columns += ["memory open", "peak support", "peak query"]
    return Table("load, first call and memory", columns, rows, footnotes)


def query_ratios(result: BenchmarkResult) -> Table | None:
    """Each contender's query over the bundle's; None if there is nothing to compare."""
    base = result.contenders[0].name
    rows = [
        [
            f"{ratio.contender}{' *' if ratio.reads_supports else ''}",
            f"{ratio.shots}",
            f"{ratio.classes}",
            f"{ratio.ratio:.2f}",
            f"{ratio.low:.2f} to {ratio.high:.2f}",
        ]
        for ratio in ratios(result)
    ]
    if not rows:
        return None
    footnotes = ["the interval is 95 %, from resampled rounds; above 1 the bundle is faster"]
    if any(not one.caches_support for one in result.contenders):
        footnotes.append("* its query is the whole episode")
    columns = [f"times the {base}'s", "shots", "classes", "ratio", "interval"]
    return Table("median of a query", columns, rows, footnotes)


def growth(result: BenchmarkResult) -> Table | None:
    """Cost over shots and over classes; None if there was one of each."""
    rows = [
        [
            f"{one.contender}, {one.scenario}",
            one.over,
            " · ".join(f"{number}: {factor:.2f}" for number, factor in one.factors.items()),
        ]
        for one in growths(result)
    ]
    if not rows:
        return None
    return Table("growth, times the first", ["median", "over", "number: factor"], rows, left=3)


def accuracy(result: BenchmarkResult) -> Table | None:
    """How good the masks are and what changed; None if neither is known."""
    if not any(one.accuracy["annotated"] + one.accuracy["compared"] for one in result.contenders):
        return None
    rows, annotated, compared = [], 0, 0
    for one in result.contenders:
        found = one.accuracy
        annotated = max(annotated, found["annotated"])
        compared = max(compared, found["compared"])
        rows.append(
            [
                one.name,
                "-" if found["mean_iou"] is None else f"{found['mean_iou']:.2f}",
                "-" if found["changed_percent"] is None else f"{found['changed_percent']:.4f} %",
                "-"
                if found["largest_difference"] is None
                else f"{found['largest_difference']:.2g}",
            ]
        )
    footnotes = []
    if annotated:
        footnotes.append(
            f"mIoU: each of the {annotated} annotated photographs left out in turn; far too few to "
            "be a benchmark of the model"
        )
    if result.reference is not None:
        footnotes.append(
            f"changed pixels and largest difference of a probability: against {result.reference}, "
            f"on {compared} photographs"
        )
    columns = ["accuracy", "mIoU %", "changed pixels", "largest difference"]
    return Table("accuracy of what was timed", columns, rows, footnotes)


def parity(values: Mapping[str, Any]) -> str:
    """What the bundle's manifest says of its parity with the checkpoint, as one text."""
    return " · ".join(f"{key} {value}" for key, value in _flat(values))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            yield f"{prefix}{key}", f"{value:.3g}" if isinstance(value, float) else value


def _tails(summary: Summary) -> str:
    """The percentiles; "n/a" and the number of samples where there are too few of them."""
    values = summary.percentiles.values()
    few = f" (n={summary.count})" if None in values else ""
    if not any(value is not None for value in values):
        return f"n/a{few}"
    return (
        "/".join("n/a" if value is None else wording.milliseconds(value) for value in values) + few
    )


def _description(one: ContenderRecord) -> str:
    parts = []
    for key, value in one.description.items():
        text = f"{value[:12]}…" if key == "sha256" and isinstance(value, str) else str(value)
        parts.append(f"{key} {text}")
    return ", ".join(parts)


def _photographs(result: BenchmarkResult) -> str:
    supports = ", ".join(
        f"{name} ({len(paths)})" for name, paths in result.photographs["supports"].items()
    )
    kind = "noise, no photographs" if result.photographs["synthetic"] else "photographs"
    return f"supports {supports}; {len(result.photographs['queries'])} queries; {kind}"
