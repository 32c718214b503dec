"""Peak memory, measured where nothing else runs."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from arnet.runtime.benchmark.memory import peak_memory
from arnet.runtime.benchmark.scenarios import Contender
from arnet.runtime.benchmark.workload import Workload
from arnet.runtime.segmenter import Segmenter

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems tell less")
MIB = 2**20


@linux
def test_a_bundle_is_opened_and_asked_in_a_process_of_its_own(
    shared_bundle: Path, workload: Workload
) -> None:
    hog = np.ones(500 * MIB, np.uint8)  # held by this process, and by this one alone
    contender = Contender("bundle", partial(Segmenter.load, shared_bundle, engine="onnx"))
    found = peak_memory(contender, workload.episode(5, 1), workload.queries[0])
    assert hog.any()
    assert isinstance(found, dict)
    assert 10 * MIB < found["imported"] < found["opened"] <= found["support"]
    assert max(found.values()) < 400 * MIB


MODULE = """
import time
import numpy as np
class Hungry:
    caches_support = True
    def __init__(self, learning, asking): self.learning, self.asking = learning, asking
    def learn(self, images, masks): np.ones(self.learning * 2**20, np.uint8); return images[0]
    def segment(self, image, states):
        np.ones(self.asking * 2**20, np.uint8)
        from arnet.runtime.segmentation import ClassMasks, Segmentation
        empty = np.zeros(image.shape[:2], np.float32)
        return Segmentation({"a": ClassMasks(empty, None, None)}, {})
class Dies(Hungry):
    def learn(self, images, masks): import os; os._exit(9)
class Fails(Hungry):
    def learn(self, images, masks): raise ValueError("no such thing")
"""


@pytest.fixture
def hungry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module that a fresh process can import, too."""
    (tmp_path / "hungry_segmenters.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("hungry_segmenters")
    sys.modules.pop("hungry_segmenters")


@linux
@pytest.mark.parametrize(("learning", "asking"), [(300, 50), (50, 300)])
def test_the_peak_of_a_query_is_not_that_of_learning(
    learning: int, asking: int, hungry, workload: Workload
) -> None:
    contender = Contender("hungry", partial(hungry.Hungry, learning, asking))
    found = peak_memory(contender, workload.episode(1, 1), workload.queries[0])
    assert isinstance(found, dict)
    assert found["support"] - found["opened"] == pytest.approx(learning * MIB, rel=0.2)
    assert found["query"] - found["opened"] == pytest.approx(asking * MIB, rel=0.2)


@pytest.mark.parametrize(("kind", "reason"), [("Dies", "was ended"), ("Fails", "no such thing")])
def test_a_process_that_ends_costs_its_figure_alone(kind, reason, hungry, workload) -> None:
    contender = Contender(kind, partial(getattr(hungry, kind), 1, 1))
    found = peak_memory(contender, workload.episode(1, 1), workload.queries[0])
    assert isinstance(found, str)
    assert reason in found


def test_the_process_imports_no_torch_for_a_bundle(shared_bundle: Path, workload: Workload) -> None:
    """What is measured is the runtime's memory: torch alone would be hundreds of MiB."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from functools import partial\n"
        "from arnet.runtime.benchmark.memory import peak_memory\n"
        "from arnet.runtime.benchmark.scenarios import Contender\n"
        "from arnet.runtime.benchmark.workload import synthetic_workload\n"
        "from arnet.runtime.segmenter import Segmenter\n"
        "w = synthetic_workload(1, 1, 1)\n"
        f"c = Contender('b', partial(Segmenter.load, {str(shared_bundle)!r}, engine='onnx'))\n"
        "if __name__ == '__main__': print(peak_memory(c, w.episode(1, 1), w.queries[0]))\n"
    )
    script = workload.queries[0].path.parent / "measure.py"
    script.write_text(code)
    finished = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=dict(os.environ)
    )
    assert "'query'" in finished.stdout or "'whole'" in finished.stdout, finished.stderr
