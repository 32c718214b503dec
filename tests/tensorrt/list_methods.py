"""What the methods of TensorRT's classes that we use return, by the bindings' documentation."""

from __future__ import annotations

import json
import re
import sys

import real_tensorrt

trt = real_tensorrt.load()
CLASSES = (
    "Builder", "INetworkDefinition", "OnnxParser", "ParserError", "IBuilderConfig", "ITimingCache",
    "IOptimizationProfile", "Runtime", "ICudaEngine", "IExecutionContext", "EngineInspector",
)  # fmt: skip
found: dict[str, set[str]] = {}
for kind in CLASSES:
    for name in dir(getattr(trt, kind)):
        text = getattr(getattr(trt, kind), name).__doc__ or ""
        results = re.findall(rf"{name}\(self: .*\) -> (.+)", text)
        if results and not name.startswith("__"):
            found.setdefault(name, set()).update(results)
sys.stdout.write("\n" + json.dumps({name: sorted(kinds) for name, kinds in found.items()}) + "\n")
