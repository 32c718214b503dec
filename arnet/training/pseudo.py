"""Pseudo-classes: regions that the images of an episode share by the look of frozen features.

A model that sees few classes learns to find those, whatever the support marks. Here the class of an
episode is made anew: the cells of all its images are clustered by the direction of their deepest
features (spherical k-means), and one cluster that every image shows is the object.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from arnet.training.batches import Batch

CLUSTERS = (3, 8)
"""Number of clusters, least and most."""
SHARE = (0.03, 0.6)
"""Share of every image that a cluster must cover to be an object, least and most."""
_ROUNDS = 8


def pseudo_labels(maps: Tensor, generator: torch.Generator) -> Tensor | None:
    """A region that all images share.

    Args:
        maps: deep features (n, C, h, w) of the images of an episode.
        generator: of a processor; the only source of chance.

    Returns:
        (n, h, w) uint8, 1 the region and 0 all else; None where no cluster is in every image.
    """
    count, channels, height, width = maps.shape
    # A cell looks like its surroundings, so that clusters are regions, not speckles.
    smooth = F.avg_pool2d(maps.float(), 3, stride=1, padding=1, count_include_pad=False)
    cells = F.normalize(smooth.movedim(1, -1).reshape(-1, channels), dim=1)
    clusters = int(torch.randint(CLUSTERS[0], CLUSTERS[1] + 1, (), generator=generator))
    start = torch.randperm(len(cells), generator=generator)[:clusters].to(cells.device)
    centres = cells[start]
    for _ in range(_ROUNDS):
        nearest = (cells @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, cells)
        centres = F.normalize(sums, dim=1)
    nearest = (cells @ centres.T).argmax(dim=1).view(count, height, width)
    shares = torch.stack([(nearest == c).float().mean(dim=(1, 2)) for c in range(clusters)])
    fits = ((shares >= SHARE[0]) & (shares <= SHARE[1])).all(dim=1).nonzero().flatten().cpu()
    if not len(fits):
        return None
    chosen = fits[torch.randint(len(fits), (), generator=generator)]
    return (nearest == chosen.to(nearest.device)).to(torch.uint8)


def with_pseudo_classes(batch: Batch, query: Tensor, support: Tensor, deepest: int) -> Batch:
    """The batch with the labels of its pseudo-classes, where an episode asks for one.

    Args:
        batch: labels and guides; ``batch.pseudo`` says which episodes.
        query: features (B, C, h, w) of the queries.
        support: features (B, k, C, h, w) of their supports.
        deepest: number of channels of the deepest layer, which come last.
    """
    if not bool((batch.pseudo >= 0).any()):
        return batch
    query_labels, guides = batch.query_labels.clone(), batch.guides.clone()
    support_labels = batch.support_labels.clone()
    for row, seed in enumerate(batch.pseudo.tolist()):
        if seed < 0:
            continue
        maps = torch.cat([query[row, None], support[row]])[:, -deepest:]
        found = pseudo_labels(maps, torch.Generator().manual_seed(seed))
        if found is None:
            continue  # the episode keeps its class
        large = F.interpolate(found[:, None], size=query_labels.shape[-2:], mode="nearest")[:, 0]
        query_labels[row], support_labels[row], guides[row] = large[0], large[1:], large[1:]
    return replace(batch, query_labels=query_labels, support_labels=support_labels, guides=guides)
