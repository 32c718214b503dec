"""The algebra of the factorisation. All of it is exact; the caller computes it in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from arnet.modeling.layers import bias_of


def fold_batch_norms(module: nn.Module) -> None:
    """Put every batch normalisation into the convolution registered right before it, in place."""
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            assert previous is not None and isinstance(previous[1], nn.Conv2d)
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        previous = (name, child)


def part(convolution: nn.Conv2d, start: int, stop: int, bias: bool = False) -> nn.Conv2d:
    """The convolution over its input channels ``start`` to ``stop`` alone.

    A convolution of concatenated maps is the sum of such parts, one of which has the bias.
    """
    return _convolution(
        convolution.weight[:, start:stop], convolution.bias if bias else None, convolution.padding
    )


def stacked(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    """Several convolutions of one map as a single one; its outputs are theirs, concatenated."""
    weight = torch.cat([convolution.weight for convolution in convolutions])
    return _convolution(weight, None, convolutions[0].padding)


def margin(convolution: nn.Conv2d) -> nn.Conv2d:
    """The convolution to the logits of background and object as one to their difference.

    The softmax of two logits is the sigmoid of the difference.
    """
    weight, bias = convolution.weight, bias_of(convolution)
    return _convolution(weight[1:] - weight[:1], bias[1:] - bias[:1], convolution.padding)


def taps(convolution: nn.Conv2d) -> nn.Conv2d:
    """The nine products of a 3x3 convolution, W_t F, as a 1x1 convolution to 9 * out channels.

    Tap t = 3 * row + column; the convolution itself is the sum over t of tap t, shifted.
    """
    out, inputs = convolution.weight.shape[:2]
    weight = convolution.weight.permute(2, 3, 0, 1).reshape(9 * out, inputs, 1, 1)
    return _convolution(weight, None, 0)


def border_sums(convolution: nn.Conv2d) -> Tensor:
    """What a zero-padded 3x3 convolution does to a tiled vector, for the nine kinds of place.

    At a corner or an edge only the taps that fall inside count. Kind 3 * row + column with row and
    column first (0), inside (1) or last (2).

    Returns:
        (9, out, in): the convolution of a tiled vector v is ``border_sums[kind] @ v``.
    """
    ranges = [(1, 3), (0, 3), (0, 2)]
    weight = convolution.weight
    return torch.stack(
        [weight[:, :, a:b, c:d].sum(dim=(2, 3)) for a, b in ranges for c, d in ranges]
    )


def border_places(height: int, width: int) -> Tensor:
    """Which of the nine kinds each place of a map is, as (9, height * width) of 0 and 1.

    Both sides must be 2 or more: a map of one row would have a tenth kind.
    """
    kinds = 3 * _kinds(height)[:, None] + _kinds(width)[None]
    return torch.nn.functional.one_hot(kinds.flatten(), 9).T.contiguous().double()


def _kinds(length: int) -> Tensor:
    kinds = torch.ones(length, dtype=torch.long)
    kinds[0], kinds[-1] = 0, 2
    return kinds


def _convolution(
    weight: Tensor, bias: Tensor | None, padding: str | int | tuple[int, ...]
) -> nn.Conv2d:
    out, inputs, *kernel = weight.shape
    convolution = nn.Conv2d(
        inputs,
        out,
        (kernel[0], kernel[1]),
        padding=padding,  # type: ignore[arg-type]  # as another convolution has it
        bias=bias is not None,
        dtype=weight.dtype,
    )
    convolution.weight.data.copy_(weight.detach())
    if bias is not None and convolution.bias is not None:
        convolution.bias.data.copy_(bias.detach())
    return convolution
