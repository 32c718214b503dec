"""The stages with our kernels on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arnet.export.torch_kernels import Options, TorchKernels
from arnet.segmenter import TorchSegmenter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


@pytest.mark.parametrize("graphs", ["one", "stages", "none"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-3), ("fp16", 2e-2)])
def test_a_gpu_says_what_the_processor_does(
    graphs, precision, bound, checkpoint_file, episodes
) -> None:
    reference = TorchSegmenter.load(checkpoint_file, "cpu")
    options = Options(precision=precision, graphs=graphs)
    ours = TorchKernels(reference.model, reference.size, "cuda", options)
    for _ in range(2):  # the second time from the graphs
        for episode in (episodes[0], episodes[3]):
            expected, found = (
                segmenter.segment(
                    episode.query, {"it": segmenter.learn(episode.images, episode.masks)}
                )
                for segmenter in (reference, ours)
            )
            for kind in ("probability", "first", "supports"):
                first, second = (getattr(one.classes["it"], kind) for one in (expected, found))
                np.testing.assert_allclose(second, first, rtol=0, atol=bound)
            assert all(spent > 0 for spent in found.device.values())
