"""Writes ``resources.json``: what every kernel takes of each architecture.

python tests/kernels/record_resources.py
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from arnet.kernels.catalogue import SOURCES
from arnet.kernels.compile import compile_source, supported, version

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)


def main() -> None:
    resources = {}
    for number in ARCHITECTURES:
        if number in supported():
            found: dict[str, dict[str, int]] = {}
            for source in SOURCES:
                entries = compile_source(source, f"sm_{number}").resources()
                found |= {entry: asdict(taken) for entry, taken in sorted(entries.items())}
            resources[f"sm_{number}"] = found
    path = Path(__file__).with_name("resources.json")
    record = {"compiler": version(), "resources": resources}
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
