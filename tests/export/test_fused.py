"""Convolutions that do more than one thing at once still do the same."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from arnet.export import cudnn
from arnet.export.channels import ALIGNMENT, align, widened
from arnet.export.cudnn import ConvolutionReLU, Pyramid
from arnet.export.fused import FusedASPP, fused
from arnet.export.stages import factorise
from arnet.modeling.layers import convolution_block

CONFIGURATIONS = {
    "plain": (),
    "prior": ("model.prior=5",),
    "resnet50": ("model.backbone.name=resnet50", "model.backbone.stride_in_1x1=true"),
    "resnet101": ("model.backbone.name=resnet101",),
    "layer3 alone": ("model.backbone.layers=[layer3]",),
    "layer2 alone": ("model.backbone.layers=[layer2]",),
    "output stride 16": ("model.backbone.output_stride=16",),
    "no reduction": ("model.reduce=false",),
    "one MPM": ("model.share_mpm=true",),
    "without MPM1": ("model.without=[mpm1]",),
    "without both": ("model.without=[mpm1,mpm2]",),
    "the best of the shots": ("model.fusion=mask",),
    "batch norm": ("model.norm=batch",),
    "attention on the residual": ("model.cbam=residual", "model.prior=5"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_model_with_fused_and_aligned_convolutions_gives_the_same(
    name, random_model, make_task, drive, gap
) -> None:
    model = random_model(*CONFIGURATIONS[name])
    task = make_task((3,) if "fusion" in str(CONFIGURATIONS[name]) else (2, 1))
    plain, changed = factorise(model, 65), factorise(model, 65)
    align(changed.modules["decode"])
    for stage, module in changed.modules.items():
        changed.modules[stage] = fused(module)
    kinds = {type(m) for m in changed.modules["decode"].modules()}
    assert {ConvolutionReLU, FusedASPP} <= kinds
    expected = drive(plain, task)
    assert gap(drive(changed, task), expected) < 1e-4
    broken = copy.deepcopy(changed.modules["decode"])
    next(m for m in broken.modules() if isinstance(m, ConvolutionReLU)).bias.data += 0.1
    changed.modules["decode"] = broken  # the negative control
    assert gap(drive(changed, task), expected) > 1e-3


def test_channels_that_tensor_cores_take(random_model) -> None:
    decode = factorise(random_model("model.prior=5"), 65).modules["decode"]
    align(decode)
    refinement = decode.refinement
    assert refinement.residual[1].out_channels % ALIGNMENT == 0
    assert refinement.aspp.branches[1][0].in_channels % ALIGNMENT == 0
    assert decode.mpm1.products.out_channels == 16


@pytest.mark.parametrize("at", [0, 2])
def test_more_channels_are_zeros_where_they_are_asked_for(at: int) -> None:
    convolution = nn.Conv2d(4, 5, 3, padding=1)
    wide = widened(convolution, inputs=3, outputs=2, at=at)
    x = torch.randn(1, 4, 6, 7)
    split = at or 4
    given = torch.cat([x[:, :split], torch.randn(1, 3, 6, 7), x[:, split:]], dim=1)
    found, expected = wide(given), convolution(x)
    split = at or 5
    assert not found[:, split : split + 2].any()
    kept = torch.cat([found[:, :split], found[:, split + 2 :]], dim=1)
    torch.testing.assert_close(kept, expected)


def test_the_operators_are_what_torch_takes_them_for() -> None:
    x, other = torch.randn(2, 8, 6, 7), torch.randn(2, 16, 3, 4)
    convolution = nn.Conv2d(8, 16, 3, stride=2, padding=1)
    for added in (None, other):
        arguments = (x, convolution.weight.detach(), convolution.bias.detach(), added)
        operator = torch.ops.arnet.convolution_relu.default
        torch.library.opcheck(operator, (*arguments, [2, 2], [1, 1], [1, 1]))
        found = operator(*arguments, [2, 2], [1, 1], [1, 1])
        expected = convolution(x) if added is None else convolution(x) + added
        torch.testing.assert_close(found, expected.relu())
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_pyramid_has_every_branch() -> None:
    blocks = [convolution_block(8, 16, kernel=1)]
    blocks += [convolution_block(8, 16, dilation=rate) for rate in (2, 3)]
    x = torch.randn(2, 8, 9, 9)
    pyramid = Pyramid(blocks)
    with torch.no_grad():
        for found, block in zip(pyramid(x), blocks, strict=True):
            torch.testing.assert_close(found, block(x))
    weights = [branch.weight.detach() for branch in pyramid.branches]
    biases = [branch.bias.detach() for branch in pyramid.branches]
    arguments = (x, weights, biases, [1, 2, 3])
    torch.library.opcheck(torch.ops.arnet.pyramid.default, arguments)


class RecordedStream:
    """Stands for a stream of torch."""

    def wait_stream(self, other) -> None:
        pass


class RecordedResult:
    """Stands for what a convolution put out; knows the streams that were said to read it."""

    def __init__(self) -> None:
        self.readers: list[RecordedStream] = []

    def record_stream(self, stream) -> None:
        self.readers.append(stream)


@pytest.mark.parametrize("capturing", [False, True])
def test_who_reads_what_side_streams_put_out_is_recorded(capturing, monkeypatch) -> None:
    main, *sides = (RecordedStream() for _ in range(3))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    monkeypatch.setattr(cudnn, "_side_streams", lambda stream, count: sides[:count])
    monkeypatch.setattr(cudnn, "convolution_relu", lambda *arguments: RecordedResult())
    weights, biases = [torch.zeros(8, 8, 3, 3)] * 3, [torch.zeros(8)] * 3
    found = cudnn._side_by_side(torch.zeros(1, 8, 5, 5), weights, biases, [1, 2, 3])
    readers = [one.readers for one in found]
    assert readers == ([[], [], []] if capturing else [[], [main], [main]])
