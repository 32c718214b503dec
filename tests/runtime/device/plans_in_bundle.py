"""Gives a bundle TensorRT plans, which are its ONNX graphs; see ``fake_tensorrt``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

STAGES = ("encode_image", "encode_support", "fuse_support", "encode_query", "decode")
PLANS: dict[str, Any] = {
    "precision": "fp32",
    "tensorrt": "11.4.0.106",
    "cuda": "13.0",
    "driver": "580.65.06",
    "gpu": "emulated",
    "capability": [8, 0],
    "hardware": "none",
    "version_compatible": False,
    "plugins": [],
    "shots": [1, 2, 16],
    "classes": [1, 1, 4],
}


def add_plans(bundle: Path, swap: dict[str, str] | None = None, **changes: Any) -> Path:
    """Add a set of plans to the bundle in a folder.

    Args:
        bundle: its folder.
        swap: stages whose plan is that of another one.
        changes: keys of the set.
    """
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    stages = [name for name in STAGES if name in document["stages"]]
    number = len(document.setdefault("plans", []))
    entries = {}
    for stage in stages:
        name = f"{stage}.{number}.plan"
        content = (bundle / f"{(swap or {}).get(stage, stage)}.onnx").read_bytes()
        (bundle / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        document["files"][name] = {"sha256": digest, "bytes": len(content)}
        entries[stage] = {"file": name, "built": {"float32": 3}}
    document["plans"].append({**PLANS, "stages": entries, **changes})
    path.write_text(json.dumps(document))
    return bundle
