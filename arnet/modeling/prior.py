"""The prior: how much more the query looks like the supports' object than like what surrounds it.

Not in the paper. It compares directions of frozen features and so has nothing to learn. Two
answers are added, each a similarity to the object minus that to its surroundings:

- the nearest of many local prototypes, means over windows of the supports (ALPNet, Ouyang et al.,
  ECCV 2020): follows a thing whose parts look different;
- one global prototype, moved towards what the first answer found in the query itself (SSP, Fan et
  al., ECCV 2022): finds a thing that looks a little different here.

PFENet has such a prior, too, of another kind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOWS = 8
"""Windows in a row and in a column."""
_COVERED = 0.5
"""Share of a window that the object, or its surroundings, must cover to give a prototype."""
_OWN = 0.02
"""Similarity of a support's cells to itself by which its mask is trusted e times as much."""
_FOUND = 0.03
"""Similarity of the query's cells by which they are taken for the object e times as much."""
_AROUND = 5
"""Classes are compared over squares that reach this part of the map to every side."""
_LEAD = 50.0
"""Margin for each unit of likeness that a class is ahead of the next."""
_NONE = -1e4
"""Likeness of a class that claims nothing."""
_ENOUGH = 0.5
"""Cells of the query, taken for the object, that count half as much as the supports."""


def prior_features(deep: Tensor, masks: Tensor) -> Tensor:
    """What the prior keeps of supports: prototypes of the object, and of its surroundings.

    Cells under the mask that look like the surroundings count less: a box holds some of them.

    Args:
        deep: features (N, C, h, w) of the supports, at least 0.
        masks: (N, 1, h, w), from 0 to 1.

    Returns:
        (N, 2, 1 + L, C), float32: first the global ones, as long as the area is large, then those
        of L windows, unit vectors or zero where a window holds too little of its side.
    """
    with _exact(deep):
        maps, size = deep.float().flatten(2), deep.shape[-2:]
        inside = masks.float().flatten(2)
        sides = torch.cat([inside, 1 - inside], dim=1)
        pair = F.normalize(sides @ maps.mT, dim=2)
        own = (pair[:, :1] - pair[:, 1:]) @ F.normalize(maps, dim=1)
        sides = torch.cat([inside * (own / _OWN + 1).sigmoid(), 1 - inside], dim=1)
        # Of every window, the sum over the object's cells and over those around it: (N, 2, C, L).
        sums = _windows((sides[:, :, None] * maps[:, None]).unflatten(3, size))
        cells = _windows(maps.new_ones(size))
        covered = _windows(sides.unflatten(2, size)) >= _COVERED * cells
        local = F.normalize(sums, dim=2) * covered[:, :, None]
        whole = (sides @ maps.mT)[:, :, None] / maps.shape[2]
        return torch.cat([whole, local.mT], dim=2)


def similarity(deep: Tensor, prior_features: Tensor) -> Tensor:
    """Similarity to the object minus that to its surroundings, the sum of both answers.

    Args:
        deep: features (N, C, h, w) of the queries, at least 0.
        prior_features: (N, k, 2, 1 + L, C), of the k supports of a class.

    Returns:
        (N, 1, h, w), from -2 to 2, in practice within 0.5 of 0; float32.
    """
    with _exact(deep):
        return answers(*_compared(deep, prior_features)).view(-1, 1, *deep.shape[-2:])


def likeness(deep: Tensor, prior_features: Tensor) -> Tensor:
    """Similarity to the object, whatever surrounds it; arguments and result as above."""
    with _exact(deep):
        return likenesses(*_compared(deep, prior_features)).view(-1, 1, *deep.shape[-2:])


def compete(margins: Tensor, likeness: Tensor) -> Tensor:
    """Margins of N classes on one query: where several find themselves, the likest keeps it.

    Margins say where an object is and hardly which: a horse is all that a dog is, against grass.

    Args:
        margins: (N, 1, h, w) of q2.
        likeness: (N, 1, h, w), compared as means over what is found around each cell.

    Returns:
        (N, 1, h, w), at most the margins; those of a single class are left as they are.
    """
    height, width = margins.shape[-2:]
    reach = (height // _AROUND, width // _AROUND)
    size = (2 * reach[0] + 1, 2 * reach[1] + 1)
    found = (margins.amax(dim=0, keepdim=True) > 0).to(likeness.dtype)
    # Means over found cells: what is around an object is like anything.
    means = F.avg_pool2d(torch.cat([likeness * found, found]), size, 1, reach)
    around = means[:-1] / means[-1:].clamp(min=1e-6)
    none = torch.full_like(around, _NONE)  # a number made on the host could not be captured
    claims = torch.where(margins > 0, around, none)
    best = claims.amax(dim=0, keepdim=True)
    second = torch.where(claims == best, none, claims)
    second = second.amax(dim=0, keepdim=True)
    rival = torch.where(claims == best, second, best)
    return torch.minimum(margins, (around - rival) * _LEAD)


def unit_cells(deep: Tensor) -> Tensor:
    """Unit vectors (N, C, h * w) of features (N, C, h, w), float32."""
    return F.normalize(deep.float(), dim=1).flatten(2)


def nearest(local: Tensor, cells: Tensor) -> Tensor:
    """Cosine similarity to the nearest local prototype of each side.

    Args:
        local: (N, 2, L, C), unit vectors or zero.
        cells: (N or 1, C, h * w), unit vectors.

    Returns:
        (N, 2, h * w), from 0 to 1; 0 where no window had enough of a side.
    """
    return (local.flatten(1, 2) @ cells).unflatten(1, local.shape[1:3]).amax(dim=2)


def answers(cells: Tensor, pair: Tensor, near: Tensor) -> Tensor:
    """Both answers added.

    Args:
        cells: of the query, (N or 1, C, h * w), unit vectors.
        pair: global prototypes (N, 2, C), of any length.
        near: similarity (N, 2, h * w) to the nearest local ones.

    Returns:
        (N, 1, h * w).
    """
    pair = F.normalize(pair, dim=2)
    near = torch.maximum(near, pair @ cells)
    local = near[:, :1] - near[:, 1:]
    found = torch.cat([local, -local], dim=1).div(_FOUND).sigmoid() ** 4
    # Of unit vectors: shorter than the supports' own the less the query is sure of.
    here = found @ cells.mT / (found.sum(dim=2, keepdim=True) + _ENOUGH)
    pair = F.normalize(pair + here, dim=2)
    return local + (pair[:, :1] - pair[:, 1:]) @ cells


def likenesses(cells: Tensor, pair: Tensor, near: Tensor) -> Tensor:
    """Similarity (N, 1, h * w) to the object; arguments as above."""
    return near[:, :1] + F.normalize(pair[:, :1], dim=2) @ cells


def _exact(deep: Tensor) -> torch.autocast:
    """float32 also in mixed precision: a few hundredths decide."""
    return torch.autocast(deep.device.type, enabled=False)


def _compared(deep: Tensor, prior_features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cells (N, C, h * w), global prototypes (N, 2, C) and nearest similarity (N, 2, h * w)."""
    cells, prior_features = unit_cells(deep), prior_features.float()
    shots = prior_features.shape[1]
    each = cells[:, None].expand(-1, shots, -1, -1).flatten(0, 1)
    near = nearest(prior_features[:, :, :, 1:].flatten(0, 1), each).unflatten(0, (-1, shots))
    return cells, prior_features[:, :, :, 0].mean(dim=1), near.amax(dim=1)


def _windows(maps: Tensor) -> Tensor:
    """Sums of maps (*, h, w) over windows, (*, L); a small map has fewer windows."""
    for _ in range(2):  # rows, then columns
        size = maps.shape[-2]
        count = min(WINDOWS, size)
        number = torch.arange(size, device=maps.device) * count // size
        member = number[:, None] == torch.arange(count, device=maps.device)
        maps = maps.mT @ member.to(maps.dtype)
    return maps.flatten(-2)
