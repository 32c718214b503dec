"""A result as a picture: where the time goes, and how cost grows over shots and classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from arnet.runtime.benchmark.comparison import growths
from arnet.runtime.benchmark.result import BenchmarkResult, Measurement
from arnet.runtime.benchmark.wording import three_digits
from arnet.runtime.errors import MissingDependencyError, OutputError, install
from arnet.runtime.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that the colour-blind tell apart: those of Okabe and Ito, then some of Tol's.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"),
    *("#DDCC77", "#44AA99", "#882255", "#332288"),
)
LINES = {"support": ":", "query": "-", "episode": "--"}
SHARE_TO_LABEL = 0.06
"""Part of the longest bar below which a number would not fit in."""


def draw(result: BenchmarkResult, path: str | Path) -> None:
    """Draw a result and write the picture, whole or not at all.

    On the left the medians of the stages, on the right the growth over shots and over classes, as
    far as there were several.

    Args:
        result: what was measured.
        path: where to; the suffix decides the format (.png, .svg, .pdf).

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the format is unknown or the file cannot be written.
    """
    path = Path(path)
    check(path)
    from matplotlib.figure import Figure

    growing = [over for over in ("shots", "classes") if len(result.settings[over]) > 1]
    bars = _bars(result)
    # Not through pyplot, which would look for a screen.
    figure = Figure((6.5 + 4.0 * len(growing), max(3.6, 1.8 + 0.4 * len(bars))), dpi=150)
    figure.set_layout_engine("constrained")
    widths = [1.5] + [1.0] * len(growing)
    panels: Any = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    whole = {contender.name for contender in result.contenders if not contender.caches_support}
    _draw_stages(panels[0], bars, whole)
    for axes, over in zip(panels[1:], growing, strict=True):
        _draw_growth(axes, result, over)
    figure.suptitle(_title(result), fontsize=9)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=_kind(path))


def check(path: Path) -> None:
    """Find out whether a picture could be drawn, before minutes of measuring.

    Args:
        path: the file to write.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the format is unknown.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise MissingDependencyError(
            "drawing needs matplotlib, which is not installed", install("plot")
        ) from error
    if _kind(path) not in FigureCanvasBase.get_supported_filetypes():
        raise OutputError(
            f"{path}: no picture is written with the suffix '{path.suffix}'", "end it in .png"
        )


def _kind(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _title(result: BenchmarkResult) -> str:
    environment = result.environment
    parts = [environment["cpu"] or "processor not recorded", f"{environment['cores']} cores"]
    if environment["gpu"] is not None:
        parts.append(environment["gpu"]["name"])
    if result.photographs["synthetic"]:
        parts.append("NOISE INSTEAD OF PHOTOGRAPHS")
    if result.warnings:
        count = len(result.warnings)
        parts.append(f"measured with {count} warning{'' if count == 1 else 's'}")
    return " · ".join(parts)


def _bars(result: BenchmarkResult) -> list[Measurement]:
    """Every scenario at the largest number of shots and the smallest of classes."""
    shots, classes = max(result.settings["shots"]), min(result.settings["classes"])
    found = [
        result.find(contender.name, scenario, shots, classes)
        for scenario in result.settings["scenarios"]
        for contender in result.contenders
    ]
    return [measurement for measurement in found if measurement is not None]


def _draw_stages(axes: Axes, bars: list[Measurement], whole: set[str]) -> None:
    medians = [m.stage_medians() or {"all": m.summary.median} for m in bars]
    named = dict.fromkeys(name for parts in medians for name in parts)
    names = sorted(named, key=lambda name: name == "other")  # which stands last
    longest = max(sum(parts.values()) for parts in medians)
    ends = [0.0] * len(bars)
    for number, name in enumerate(names):
        parts = [stages.get(name, 0.0) for stages in medians]
        axes.barh(
            range(len(bars)),
            [1000 * part for part in parts],
            left=[1000 * end for end in ends],
            color=COLOURS[number % len(COLOURS)],
            hatch="//" if number >= len(COLOURS) else None,
            height=0.7,
            label=name,
        )
        for row, part in enumerate(parts):
            if part > SHARE_TO_LABEL * longest:
                middle = 1000 * (ends[row] + part / 2)
                axes.text(
                    *(middle, row, three_digits(1000 * part)),
                    ha="center",
                    va="center",
                    fontsize=7,
                    bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
                )
            ends[row] += part
    totals = [1000 * m.summary.median for m in bars]
    axes.plot(totals, range(len(bars)), "k|", markersize=12, label="median of all")
    stars = [" *" if m.scenario == "query" and m.contender in whole else "" for m in bars]
    labels = [f"{m.scenario}: {m.contender}{star}" for m, star in zip(bars, stars, strict=True)]
    axes.set_yticks(range(len(bars)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, None)
    star = "\n* the whole episode: nothing of the supports is kept" if whole else ""
    axes.set_xlabel(f"milliseconds, median of each stage{star}", fontsize=9)
    shots, classes = bars[0].shots, bars[0].classes
    axes.set_title(f"stages, shots {shots}, classes {classes}", fontsize=9)
    axes.legend(fontsize=7, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _draw_growth(axes: Axes, result: BenchmarkResult, over: str) -> None:
    fixed = "classes" if over == "shots" else "shots"
    first = result.settings[fixed][0]
    names = [contender.name for contender in result.contenders]
    for growth in growths(result):
        if growth.over != over:
            continue
        series = sorted(
            (getattr(m, over), 1000 * m.summary.median)
            for m in result.select(growth.contender, growth.scenario)
            if getattr(m, fixed) == first
        )
        axes.plot(
            [number for number, _ in series],
            [median for _, median in series],
            marker="o",
            markersize=4,
            linestyle=LINES[growth.scenario],
            color=COLOURS[names.index(growth.contender) % len(COLOURS)],
            label=f"{growth.contender}, {growth.scenario}",
        )
    axes.set_xticks(result.settings[over])
    axes.set_xlabel(over)
    axes.set_ylabel("milliseconds, median")
    axes.set_title(f"growth over {over}, {fixed} {first}", fontsize=9)
    axes.legend(fontsize=7, loc="upper left", handlelength=3.5)
    axes.margins(y=0.35)  # room for the legend
    axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
