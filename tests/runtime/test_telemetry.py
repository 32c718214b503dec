"""Nobody is told that arnet runs."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("onnxruntime")

PROGRAM = """
import sys
import numpy as np
from arnet.runtime.segmenter import Segmenter
image, mask = np.full((40, 50, 3), 128, np.uint8), np.zeros((40, 50), np.uint8)
mask[5:30, 10:40] = 1
Segmenter.load(sys.argv[1], "onnx", threads=1).learn([image], [mask])
"""


def written(bundle, home, **changes: str) -> list[str]:
    """Files that a run leaves in its home folder."""
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | changes
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    command = [sys.executable, "-c", PROGRAM, str(bundle)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return [path.name for path in home.rglob("*") if path.is_file()]


def test_onnx_runtime_keeps_no_identifier_of_the_device(shared_bundle, tmp_path) -> None:
    assert written(shared_bundle, tmp_path / "home") == []


def test_who_wants_it_may_have_it(shared_bundle, tmp_path) -> None:
    """The negative control: without the variable there are such files."""
    found = written(shared_bundle, tmp_path / "home", ORT_DISABLE_TELEMETRY="0")
    if not found:
        pytest.skip("this ONNX Runtime keeps nothing")
    assert any("device" in name or "onnxruntime" in name for name in found)
