"""A bundle is used where only NumPy, Pillow and ONNX Runtime are installed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.finding import Query
from arnet.runtime.inference import infer, learn
from arnet.runtime.outputs.pictures import Outputs
from arnet.runtime.supports import read_support_classes

pytest.importorskip("onnxruntime")
ABSENT = ("torch", "torchvision", "onnx", "pydantic", "yaml", "safetensors")

PROGRAM = f"""
import sys
for name in {ABSENT}:
    sys.modules[name] = None
import numpy as np
from arnet.runtime.segmenter import Segmenter
image = np.full((40, 50, 3), 128, np.uint8)
mask = np.zeros((40, 50), np.uint8)
mask[5:30, 10:40] = 1
image[mask == 1] = (255, 0, 0)
segmenter = Segmenter.load(sys.argv[1], threads=1)
labels = segmenter.segment(image, segmenter.learn([image], [mask])).labels()
print((labels[mask == 1] == 1).mean(), (labels[mask == 0] == 1).mean())
"""


def test_it_runs_where_torch_and_its_company_are_not_installed(shared_bundle, tmp_path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(shared_bundle)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    inside, outside = map(float, finished.stdout.split())
    assert inside > 0.7 and outside < 0.2


def test_infer_works_with_it(segmenter, photograph, tmp_path) -> None:
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        folder = tmp_path / "supports" / name
        folder.mkdir(parents=True)
        for number in range(2):
            image, mask = photograph(colour, (10 + 9 * number, 20))
            Image.fromarray(image).save(folder / f"{number}.jpg")
            Image.fromarray(mask * 255).save(folder / f"{number}.png")
    query, truth = photograph((0, 0, 255), (30, 50), (90, 120))
    (tmp_path / "queries").mkdir()
    Image.fromarray(query).save(tmp_path / "queries" / "q.png")
    out = tmp_path / "out"
    supports = read_support_classes(tmp_path / "supports")
    queries = [Query.of(tmp_path / "queries" / "q.png")]
    (result,) = infer(segmenter, learn(segmenter, supports), queries, out, Outputs(True, True))
    labels = np.asarray(Image.open(out / "q_mask.png"))
    classes = list(supports)
    assert ((labels == classes.index("blue") + 1) & (truth == 1)).sum() > 800
    assert not (labels == classes.index("red") + 1).any()
    assert {"preprocess", "decode", "read", "total"} <= result.seconds.keys()
    document = json.loads((out / "results.json").read_text())
    assert document["model"]["kind"] == "bundle"
    assert document["model"]["sha256"] == segmenter.bundle.sha256
    assert (out / "q_figure.png").is_file() and (out / "q_prob.npy").is_file()
