"""The result of a benchmark: its classes, and the JSON file they are written to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from arnet.runtime.benchmark.timing import Summary, summarise
from arnet.runtime.errors import ConfigError
from arnet.runtime.files import write_json
from arnet.version import __version__

FORMAT = "arnet-benchmark"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """One contender in one scenario.

    Attributes:
        contender: its name.
        scenario: "support", "query" or "episode".
        shots: supports of each class.
        classes: number of classes.
        seconds: every sample in the order of the rounds, none left out.
        stages: the same calls by stage.
        device: the same calls on a GPU, by its own clock, and "enqueue", the host's part.
    """

    contender: str
    scenario: str
    shots: int
    classes: int
    seconds: list[float]
    stages: dict[str, list[float]]
    device: dict[str, list[float]] = field(default_factory=dict)

    @cached_property
    def summary(self) -> Summary:
        """Statistics of ``seconds``."""
        return summarise(self.seconds)

    def stage_medians(self) -> dict[str, float]:
        """Median seconds of each stage, and "other", what the call took beside them."""
        medians = {name: summarise(samples).median for name, samples in self.stages.items()}
        accounted = [sum(parts) for parts in zip(*self.stages.values(), strict=True)]
        if accounted:
            rest = [all_ - part for all_, part in zip(self.seconds, accounted, strict=True)]
            medians["other"] = max(summarise(rest).median, 0.0)
        return medians

    def device_medians(self) -> dict[str, float]:
        """Median seconds of each part on a GPU; none where there is no GPU."""
        return {name: summarise(samples).median for name, samples in self.device.items()}


@dataclass(frozen=True)
class ContenderRecord:
    """What is known of a contender beside its times.

    Attributes:
        name: as in the measurements.
        description: what it says of itself: kind, sha256, engine, device.
        caches_support: whether a query needs no work on the supports.
        load: seconds that opening it took, once.
        first: seconds of its first calls, "support" and "query".
        memory: bytes of resident memory (see ``peak_memory``), or why there are none.
        accuracy: mIoU and the comparison with the reference; see ``run``.
    """

    name: str
    description: dict[str, Any]
    caches_support: bool
    load: float
    first: dict[str, float]
    memory: dict[str, int] | str
    accuracy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkResult:
    """Everything that was found.

    Attributes:
        command: what was typed.
        settings: scenarios, shots, classes, and how long was measured.
        photographs: the supports by class, the queries, and whether they are noise.
        environment: see ``describe_environment``; after the run also "load_average_after",
            "cores_used", "gpu_after" and "gpu_during" (see ``nvml.Watch``).
        contenders: the first is the bundle, by whose times the others' are divided.
        measurements: by shots, classes and scenario; then in the order of the contenders.
        reference: name of the contender whose masks the others are compared with, or None.
        parity: what the bundle's manifest says of its own parity, or None.
        notes: what must be known to read the table.
        warnings: reasons to doubt it.
    """

    command: str
    settings: dict[str, Any]
    photographs: dict[str, Any]
    environment: dict[str, Any]
    contenders: list[ContenderRecord]
    measurements: list[Measurement]
    reference: str | None
    parity: dict[str, Any] | None
    notes: list[str]
    warnings: list[str]

    def find(self, contender: str, scenario: str, shots: int, classes: int) -> Measurement | None:
        """The measurement of a contender, None if there is none."""
        wanted = (contender, scenario, shots, classes)
        for m in self.measurements:
            if (m.contender, m.scenario, m.shots, m.classes) == wanted:
                return m
        return None

    def select(self, contender: str, scenario: str) -> list[Measurement]:
        """The measurements of a contender in a scenario, over shots and classes."""
        return [m for m in self.measurements if (m.contender, m.scenario) == (contender, scenario)]


def write_result(path: str | Path, result: BenchmarkResult) -> None:
    """Write a result as JSON, whole or not at all; statistics stand beside the raw samples.

    Raises:
        OutputError: the file cannot be written.
    """
    from arnet.runtime.benchmark.comparison import growths, ratios

    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "producer": f"arnet {__version__}",
        **asdict(result),
        "ratios": [asdict(ratio) for ratio in ratios(result)],
        "growth": [asdict(growth) for growth in growths(result)],
    }
    for plain, measurement in zip(document["measurements"], result.measurements, strict=True):
        plain["summary"] = asdict(measurement.summary)
        plain["stage_medians"] = measurement.stage_medians()
        plain["device_medians"] = measurement.device_medians()
    write_json(path, document)


def read_result(path: str | Path) -> BenchmarkResult:
    """Read what ``write_result`` wrote.

    Raises:
        ConfigError: the file is missing, or not the result of a benchmark of this version.
    """
    path = Path(path)
    mend = "write one: arnet bench BUNDLE --support DIR --query DIR --json FILE"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", mend) from error
    except ValueError as error:  # JSON's and UTF-8's errors
        raise ConfigError(f"{path} is not JSON: {error}", mend) from error
    kind = document.get("format") if isinstance(document, dict) else None
    if kind != FORMAT:
        found = f"its format is '{kind}'" if isinstance(kind, str) else "it has no format"
        raise ConfigError(f"{path} is not the result of arnet bench: {found}", mend)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {version}, and this arnet reads {SCHEMA_VERSION}",
            "measure again, or use the arnet that wrote it: " + str(document.get("producer")),
        )
    try:
        fields = {name: document[name] for name in BenchmarkResult.__dataclass_fields__}
        fields["contenders"] = [ContenderRecord(**record) for record in fields["contenders"]]
        fields["measurements"] = [
            Measurement(**{n: {"device": {}, **plain}[n] for n in Measurement.__dataclass_fields__})
            for plain in fields["measurements"]
        ]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: {error}", mend) from error
    return BenchmarkResult(**fields)
