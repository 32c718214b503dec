"""The stages with our kernels on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arnet.export import cudnn
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


@pytest.mark.parametrize("compiled", ["", "inductor"])
def test_two_classes_compete_in_a_graph(compiled, random_model, episodes) -> None:
    model, size = random_model("model.prior=5"), 65
    answers = []
    for device in ("cpu", "cuda"):
        on_gpu = device == "cuda"
        segmenter = TorchKernels(model, size, device, Options(compiled=compiled if on_gpu else ""))
        states = {
            "square": segmenter.learn(episodes[0].images, episodes[0].masks),
            "disc": segmenter.learn(episodes[3].images[:1], episodes[3].masks[:1]),
        }
        for _ in range(2):
            found = segmenter.segment(episodes[0].query, states)
        answers.append({label: masks.probability for label, masks in found.classes.items()})
    for label, expected in answers[0].items():
        np.testing.assert_allclose(answers[1][label], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float16, 1e-2)])
def test_cudnn_fuses_what_follows_a_convolution(dtype, bound) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) / 8).cuda().to(dtype)

    x, weight, bias = noise(2, 16, 21, 22), noise(24, 16, 3, 3), noise(24)
    with torch.backends.cudnn.flags(allow_tf32=False):
        for stride, dilation in ((1, 1), (2, 1), (1, 3)):
            sizes = [stride] * 2, [dilation] * 2, [dilation] * 2
            plain = torch.nn.functional.conv2d(x.float(), weight.float(), bias.float(), *sizes)
            for other in (None, noise(*plain.shape)):
                expected = (plain if other is None else plain + other.float()).relu()
                found = torch.ops.arnet.convolution_relu(x, weight, bias, other, *sizes)
                torch.testing.assert_close(found.float(), expected, rtol=0, atol=bound)
        rates = [1, 2, 4]
        found = torch.ops.arnet.pyramid(x, [weight] * 3, [bias] * 3, rates)
        for one, rate in zip(found, rates, strict=True):
            sizes = 1, rate, rate
            plain = torch.nn.functional.conv2d(x.float(), weight.float(), bias.float(), *sizes)
            torch.testing.assert_close(one.float(), plain.relu(), rtol=0, atol=bound)


def test_two_main_streams_may_share_a_side_stream(monkeypatch) -> None:
    first, second, side = (torch.cuda.Stream() for _ in range(3))
    monkeypatch.setattr(cudnn, "_side_streams", lambda main, count: [side][:count])
    weights, biases = [torch.ones(8, 8, 1, 1).cuda()] * 2, [torch.zeros(8).cuda()] * 2
    ones = torch.ones(1, 8, 512, 512).cuda()
    torch.cuda.synchronize()
    torch.ops.arnet.pyramid(ones, weights, biases, [1, 1])  # cuDNN is loaded
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        found = torch.ops.arnet.pyramid(ones, weights, biases, [1, 1])[1]
        torch.cuda._sleep(1_000_000_000)  # it is read late
        kept = found + 0
        del found
    with torch.cuda.stream(second):  # and its memory is free for this, on the same side stream
        other = torch.ops.arnet.pyramid(2 * ones, weights, biases, [1, 1])[1]
    torch.cuda.synchronize()
    assert (kept == 8).all()
    assert (other == 16).all()
