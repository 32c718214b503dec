"""What becomes of a tiled vector: nine values where a convolution would take a map."""

from __future__ import annotations

from torch import Tensor, nn

from arnet.export import folding
from arnet.modeling import ARNet
from arnet.modeling.layers import bias_of
from arnet.modeling.mpm import MPM


class TiledTerm(nn.Module):
    """W * f_u(v) of a 3x3 convolution over a tiled vector: nine values instead of a map."""

    def __init__(self, convolution: nn.Conv2d, start: int, bias: bool = False) -> None:
        """Take the part of the convolution whose inputs, from ``start`` on, are the vector's."""
        super().__init__()
        sums = folding.border_sums(convolution)[:, :, start:]
        kinds, self.depth, inputs = sums.shape
        self.weight = nn.Parameter(sums.reshape(kinds * self.depth, inputs).T.contiguous())
        self.bias = nn.Parameter(bias_of(convolution).clone()) if bias else None

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, C) to (N, 9, D)."""
        values = (vectors.to(self.weight.dtype) @ self.weight).view(-1, 9, self.depth)
        return values if self.bias is None else values + self.bias


class Places(nn.Module):
    """Nine values (N, 9, D) as a map (N, D, h, w)."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("places", folding.border_places(*grid))
        self.places: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """Each place takes the value of its kind."""
        maps: Tensor = values.transpose(1, 2) @ self.places.to(values.dtype)
        return maps.unflatten(2, self.grid)


def first_convolution(block: nn.Module) -> nn.Conv2d:
    """The convolution of a block whose batch normalisation has been folded."""
    convolution = block[0] if isinstance(block, nn.Sequential) else block
    assert isinstance(convolution, nn.Conv2d)
    return convolution


def first_convolutions(model: ARNet) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Those of MPM1 and MPM2, which may be the same."""
    mpms = [mpm for mpm in model.mpm if isinstance(mpm, MPM)]
    return first_convolution(mpms[0].conv1), first_convolution(mpms[-1].conv1)


def channels_of(model: ARNet) -> int:
    """C, the channels of the features that all modules take."""
    return model.config.channels if model.config.reduce else model.backbone.channels
