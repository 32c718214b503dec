"""The parts of the model in fewer and larger steps, for torch on a GPU; exact but for rounding.

Batch normalisations must be folded before. All maps lie channels last.
"""

from __future__ import annotations

import copy
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from arnet.export.channels import widened
from arnet.export.cudnn import ConvolutionReLU, Pyramid, channels_last, convolution_of, of_block
from arnet.export.decoder import SecondHalf
from arnet.export.stages import EncodeImage
from arnet.modeling.aspp import ASPP
from arnet.modeling.cbam import CBAM


class Stem(nn.Module):
    """The first convolution of a ResNet, 7x7 with stride 2 and three channels: exact.

    Each square of 2 x 2 pixels becomes one place with twelve channels, over which it is a 4x4
    convolution with stride 1: cuDNN computes three channels slowly.
    """

    CHANNELS = 16  # twelve, and four of zeros

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        weight = convolution.weight.detach()
        assert weight.shape[1:] == (3, 7, 7) and convolution.stride == (2, 2)
        # Row u of seven is row u - 3 from the centre, hence of square (u + 1) // 2 - 2 its half
        # (u + 1) % 2; with a row of zeros before them u + 1 counts from 0.
        squares = F.pad(weight, (1, 0, 1, 0)).unflatten(3, (4, 2)).unflatten(2, (4, 2))
        squares = squares.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
        over_squares = nn.Conv2d(12, len(weight), 4, bias=False, dtype=weight.dtype)
        over_squares.weight = nn.Parameter(squares.contiguous())
        if convolution.bias is not None:
            over_squares.bias = nn.Parameter(convolution.bias.detach())
        self.convolution = ConvolutionReLU(widened(over_squares, inputs=self.CHANNELS - 12))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, D, H / 2, W / 2), rounded up."""
        height, width = pixels.shape[2:]
        squares = F.pixel_unshuffle(F.pad(pixels, (0, width % 2, 0, height % 2)), 2)
        # Two squares before the first and one behind the last.
        padded = F.pad(squares, (2, 1, 2, 1, 0, self.CHANNELS - 12))
        result: Tensor = self.convolution(padded)
        return result


class ResidualBlock(nn.Module):
    """A ResNet's block: the last convolution adds the block's input and applies the ReLU."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, BasicBlock | Bottleneck)
        convolutions = [block.conv1, block.conv2]
        convolutions += [block.conv3] if isinstance(block, Bottleneck) else []
        bias = None
        self.shortcut: nn.Module = nn.Identity()
        if block.downsample is not None:  # its bias goes with that of the last convolution
            own = block.downsample[0]
            assert isinstance(own, nn.Conv2d)
            bias = None if own.bias is None else own.bias.detach()
            self.shortcut = copy.deepcopy(own)
            self.shortcut.bias = None
        self.inner = nn.Sequential(*(ConvolutionReLU(one) for one in convolutions[:-1]))
        self.last = ConvolutionReLU(convolutions[-1], bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, D, h, w)."""
        result: Tensor = self.last(self.inner(x), self.shortcut(x))
        return result


class FusedEncodeImage(nn.Module):
    """``EncodeImage``, its layers never concatenated: the reduction adds up their products."""

    def __init__(self, encode: EncodeImage) -> None:
        super().__init__()
        assert isinstance(encode.reduction, nn.Sequential)
        backbone, convolution = encode.backbone, encode.reduction[0]
        assert isinstance(convolution, nn.Conv2d)
        self.stem, self.maxpool = Stem(backbone.conv1), backbone.maxpool
        self.layers = nn.ModuleList([backbone.layer1, backbone.layer2])
        self.layers += [backbone.layer3] if "layer3" in backbone.layers else []
        fuse(self.layers)
        self.taken = [int(name.removeprefix("layer")) - 1 for name in backbone.layers]
        ends = list(accumulate(backbone.widths))
        parts = [
            convolution.weight[:, end - width : end].detach()
            for end, width in zip(ends, backbone.widths, strict=True)
        ]
        self.reductions = nn.ModuleList([_pointwise(part) for part in parts[:-1]])
        self.last = ConvolutionReLU(_pointwise(parts[-1]), convolution.bias)
        self.deepest = bool(encode.deepest)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """F and the deepest maps, of the type of the weights."""
        x = self.maxpool(self.stem(pixels.to(self.last.weight.dtype)))
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        taken = [maps[number] for number in self.taken]
        total = None
        for reduction, each in zip(self.reductions, taken, strict=False):
            total = reduction(each) if total is None else total + reduction(each)
        features: Tensor = self.last(taken[-1], total)
        return (features, taken[-1]) if self.deepest else (features,)


class FusedCBAM(nn.Module):
    """``CBAM`` in fewer and larger steps."""

    def __init__(self, cbam: CBAM) -> None:
        super().__init__()
        first, _, second = cbam.channel
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
        self.first, self.second = _linear(first), _linear(second)
        self.place = nn.Parameter(cbam.place.weight.detach().flatten(1))
        self.kernel = cbam.place.kernel_size[0]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        x = channels_last(x)
        sums = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))])
        average, maximum = self.second(self.first(sums).relu()).chunk(2)
        x = x * (average + maximum).sigmoid()[:, :, None, None]
        summary = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        windows = F.unfold(summary, self.kernel, padding=self.kernel // 2)
        places = (self.place @ windows).unflatten(2, x.shape[2:])
        return x * places.sigmoid()


class FusedASPP(nn.Module):
    """``ASPP`` with its branches side by side; the pooled one, the same everywhere, is a vector."""

    def __init__(self, aspp: ASPP) -> None:
        super().__init__()
        self.pooled, self.classify = aspp.pooled, aspp.classify
        self.branches, project = Pyramid(list(aspp.branches)), convolution_of(aspp.project)
        assert project is not None
        rest = copy.deepcopy(project)
        weight = project.weight.detach()
        count = weight.shape[1] // (len(aspp.branches) + 1)
        rest.weight = nn.Parameter(weight[:, count:].contiguous())
        self.project = ConvolutionReLU(rest)
        self.vector = nn.Parameter(weight[:, :count].flatten(1).T.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Margins (N, 1, h, w) of a map (N, C, h, w)."""
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).flatten(1) @ self.vector
        maps = [branch.permute(0, 2, 3, 1) for branch in self.branches(x)]
        joined = torch.cat(maps, dim=3).permute(0, 3, 1, 2)
        everywhere = pooled[:, :, None, None].expand(-1, -1, *x.shape[2:])
        margins: Tensor = self.classify(self.project(joined, channels_last(everywhere)))
        return margins


class Products(nn.Module):
    """A 1x1 convolution as a matrix product of maps that lie channels last."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1).T.contiguous())

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) to (N, D, h, w), channels last."""
        return (maps.permute(0, 2, 3, 1) @ self.weight).permute(0, 3, 1, 2)


def fuse(module: nn.Module) -> None:
    """Fuse the convolutions within a module; batch normalisations must be folded before."""
    for name, child in list(module.named_children()):
        if isinstance(child, BasicBlock | Bottleneck):
            setattr(module, name, ResidualBlock(child))
        elif isinstance(child, ASPP):
            setattr(module, name, FusedASPP(child))
        elif isinstance(child, CBAM):
            setattr(module, name, FusedCBAM(child))
        elif isinstance(module, SecondHalf) and isinstance(child, nn.Conv2d):
            setattr(module, name, Products(child))
        elif convolution_of(child) is not None:
            setattr(module, name, of_block(child))
        else:
            fuse(child)


def fused(module: nn.Module) -> nn.Module:
    """A stage with its convolutions fused, in place where it can be."""
    if isinstance(module, EncodeImage) and _adds_up(module):
        return FusedEncodeImage(module)
    fuse(module)
    return module


def _adds_up(encode: EncodeImage) -> bool:
    """Whether there is a reduction, of layers of one size."""
    strides = {m.stride for m in encode.backbone.layer3.modules() if isinstance(m, nn.Conv2d)}
    one_size = len(encode.backbone.layers) == 1 or strides == {(1, 1)}
    return one_size and isinstance(encode.reduction, nn.Sequential)


def _pointwise(weight: Tensor) -> nn.Conv2d:
    convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False, dtype=weight.dtype)
    convolution.weight = nn.Parameter(weight.contiguous())
    return convolution


def _linear(convolution: nn.Conv2d) -> nn.Linear:
    weight = convolution.weight.detach().flatten(1)
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight = nn.Parameter(weight)
    assert convolution.bias is not None
    linear.bias = nn.Parameter(convolution.bias.detach())
    return linear
