"""ONNX Runtime on a real GPU. This test has not run yet: no GPU was at hand."""

import numpy as np
import pytest

from arnet.runtime.errors import EngineError
from arnet.runtime.segmenter import Segmenter


@pytest.mark.gpu
def test_a_gpu_says_what_the_processor_does(shared_bundle) -> None:
    pytest.importorskip("onnxruntime")
    try:
        on_gpu = Segmenter.load(shared_bundle, engine="onnx-cuda")
    except EngineError as error:
        pytest.skip(error.message)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(3)]
    masks = [rng.integers(0, 2, (40, 50), np.uint8) for _ in range(2)]
    found = []
    for segmenter in (on_gpu, Segmenter.load(shared_bundle, engine="onnx")):
        state = segmenter.learn(images[1:], masks)
        found.append(segmenter.segment(images[0], state).classes["object"].probability)
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
