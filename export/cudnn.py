"""Convolutions that do in one launch what follows them: bias, a second map to add, and ReLU.

cuDNN can do that, and torch launches a kernel for each. Exact but for rounding: what stands between
two of the steps in half precision is never rounded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.library.custom_op("arnet::convolution_relu", mutates_args=())
def convolution_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    other: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """relu(weight * x + bias + other), channels last in memory as its inputs are best."""
    result = F.conv2d(x, weight, bias, stride, padding, dilation)
    return channels_last((result if other is None else result + other).relu())


@convolution_relu.register_kernel("cuda")
def _by_cudnn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    other: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    x = channels_last(x)  # cuDNN would compute in whatever order they come
    if other is None:
        found: Tensor = torch.ops.aten.cudnn_convolution_relu(
            x, weight, bias, stride, padding, dilation, 1
        )
        return found
    added: Tensor = torch.ops.aten.cudnn_convolution_add_relu(
        x, weight, channels_last(other), 1.0, bias, stride, padding, dilation, 1
    )
    return added


@convolution_relu.register_fake
def _shape(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    other: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    return torch.empty_like(
        F.conv2d(x, weight, None, stride, padding, dilation), memory_format=torch.channels_last
    )


@torch.library.custom_op("arnet::pyramid", mutates_args=())
def pyramid(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], dilations: Sequence[int]
) -> list[Tensor]:
    """Convolutions of one map that keep its size, each with bias and ReLU."""
    return [convolution_relu(x, *each) for each in _branches(x, weights, biases, dilations)]


@pyramid.register_kernel("cuda")
def _side_by_side(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], dilations: Sequence[int]
) -> list[Tensor]:
    # On streams of their own: one of them alone leaves half of a large GPU idle. Torch has
    # 32 streams and gives them out in turn; another main stream may use the same or be one. Hence
    # torch is told that the main stream reads the results: else what comes next on a side stream
    # could get their memory before that is done. A graph that is captured has memory of its own
    # and one main stream, and what is recorded there is not used again before the capture ends.
    x = channels_last(x)
    main = torch.cuda.current_stream(x.device)
    streams = [main, *_side_streams(main, len(weights) - 1)]
    for side in streams[1:]:
        side.wait_stream(main)
    results = []
    for stream, each in zip(streams, _branches(x, weights, biases, dilations), strict=True):
        with torch.cuda.stream(stream):
            results.append(convolution_relu(x, *each))
    capturing = torch.cuda.is_current_stream_capturing()
    for side, result in zip(streams[1:], results[1:], strict=True):
        main.wait_stream(side)
        if not capturing:
            result.record_stream(main)
    return results


@pyramid.register_fake
def _shapes(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], dilations: Sequence[int]
) -> list[Tensor]:
    return [_shape(x, *each) for each in _branches(x, weights, biases, dilations)]


def _branches(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], dilations: Sequence[int]
) -> list[tuple[Tensor, Tensor, None, list[int], list[int], list[int]]]:
    """The arguments of each convolution of a pyramid, after the map."""
    return [
        (weight, bias, None, [1, 1], [rate * (weight.shape[2] // 2)] * 2, [rate, rate])
        for weight, bias, rate in zip(weights, biases, dilations, strict=True)
    ]


@lru_cache(maxsize=64)
def _side_streams(main: torch.cuda.Stream, count: int) -> list[torch.cuda.Stream]:
    found = [main]  # torch has few streams and gives them out in turn: none twice for one main
    while len(found) <= count:
        stream = torch.cuda.Stream(main.device)
        found += [] if stream in found else [stream]
    return found[1:]


def channels_last(x: Tensor) -> Tensor:
    """The same map, channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


class ConvolutionReLU(nn.Module):
    """relu(convolution(x) + other)."""

    def __init__(self, convolution: nn.Conv2d, more_bias: Tensor | None = None) -> None:
        """Take a convolution's weights.

        Args:
            convolution: without groups.
            more_bias: added to its bias, for what is added to its result.
        """
        super().__init__()
        weight = convolution.weight.detach()
        bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias
        bias = bias.detach() if more_bias is None else bias.detach() + more_bias
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(bias.clone())
        assert not isinstance(convolution.padding, str)
        self.stride, self.padding = list(convolution.stride), list(convolution.padding)
        self.dilation = list(convolution.dilation)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to (N, D, h, w), as ``other`` is."""
        # Here, where torch.compile can make it part of what computes x.
        x = channels_last(x)
        result: Tensor = torch.ops.arnet.convolution_relu(
            x, self.weight, self.bias, other, self.stride, self.padding, self.dilation
        )
        return result


class Pyramid(nn.Module):
    """The branches of an ASPP but the pooled one, all at once."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([of_block(block) for block in blocks])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, h, w) to (N, D, h, w) of each branch."""
        branches: list[ConvolutionReLU] = list(self.branches)  # type: ignore[arg-type]
        found: list[Tensor] = torch.ops.arnet.pyramid(
            channels_last(x),
            [branch.weight for branch in branches],
            [branch.bias for branch in branches],
            [branch.dilation[0] for branch in branches],
        )
        return found


def convolution_of(block: nn.Module) -> nn.Conv2d | None:
    """The convolution of a convolution block, one with a ReLU behind it; None of anything else."""
    if not isinstance(block, nn.Sequential):
        return None
    parts = [part for part in block if not isinstance(part, nn.Identity | nn.Dropout2d)]
    if len(parts) == 2 and isinstance(parts[0], nn.Conv2d) and isinstance(parts[1], nn.ReLU):
        return parts[0]
    return None


def of_block(block: nn.Module) -> ConvolutionReLU:
    """A convolution block as one."""
    convolution = convolution_of(block)
    assert convolution is not None
    return ConvolutionReLU(convolution)
