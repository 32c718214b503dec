"""The prior: how much more the query looks like the supports' object than like what surrounds it.

Not in the paper. It compares directions of frozen features and so has nothing to learn: the
training-free baseline of ``arnet.evaluation`` as a map. PFENet has such a prior, too, of another
kind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from arnet.modeling.layers import masked_pool


def prototypes(deep: Tensor, masks: Tensor) -> Tensor:
    """Mean deep feature under each mask and outside it.

    Args:
        deep: features (N, C, h, w) of the supports.
        masks: (N, 1, h, w), from 0 to 1.

    Returns:
        (N, 2, C), object and surroundings, float32.
    """
    return torch.stack([masked_pool(deep, masks), masked_pool(deep, 1 - masks)], dim=1)


def similarity(deep: Tensor, pair: Tensor) -> Tensor:
    """Cosine similarity to the object minus that to its surroundings.

    Args:
        deep: features (N, C, h, w) of the queries.
        pair: prototypes (N, 2, C), averaged over the shots of a class.

    Returns:
        (N, 1, h, w), from -2 to 2, in practice within 0.5 of 0; float32.
    """
    directions = F.normalize(pair, dim=-1)
    difference = directions[:, 0] - directions[:, 1]
    cells = F.normalize(deep.float(), dim=1)
    return torch.einsum("nchw,nc->nhw", cells, difference)[:, None]
