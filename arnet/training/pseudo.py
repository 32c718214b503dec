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

from arnet.runtime.annotations.common import IGNORE
from arnet.training.batches import Batch

CLUSTERS = (3, 8)
"""Number of clusters, least and most."""
SHARE = (0.03, 0.6)
"""Share of every image that a cluster must cover to be an object, least and most."""
_ROUNDS = 8


def pseudo_labels(maps: Tensor, known: Tensor, generator: torch.Generator) -> Tensor | None:
    """A region that all images share.

    Args:
        maps: deep features (n, C, h, w) of the images of an episode.
        known: (n, h, w) bool, False where an image is padded: what is there is in no region.
        generator: of a processor; the only source of chance.

    Returns:
        (n, h, w) uint8, 1 the region and 0 all else; None where no cluster is in every image.
    """
    count, channels, height, width = maps.shape
    if not bool(known.flatten(1).any(dim=1).all()):
        return None
    # A cell looks like its surroundings, so that clusters are regions, not speckles.
    smooth = F.avg_pool2d(maps.float(), 3, stride=1, padding=1, count_include_pad=False)
    cells = F.normalize(smooth.movedim(1, -1).reshape(-1, channels), dim=1)
    clusters = int(torch.randint(CLUSTERS[0], CLUSTERS[1] + 1, (), generator=generator))
    inside = cells[known.flatten()]
    start = torch.randperm(len(inside), generator=generator)[:clusters].to(cells.device)
    centres = inside[start]
    for _ in range(_ROUNDS):
        nearest = (inside @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, inside)
        centres = F.normalize(sums, dim=1)
    nearest = (cells @ centres.T).argmax(dim=1).view(count, height, width)
    regions = torch.stack([(nearest == c) & known for c in range(len(centres))])
    shares = regions.float().mean(dim=(2, 3))
    fits = ((shares >= SHARE[0]) & (shares <= SHARE[1])).all(dim=1).nonzero().flatten().cpu()
    if not len(fits):
        return None
    chosen = fits[torch.randint(len(fits), (), generator=generator)]
    return regions[chosen.to(regions.device)].to(torch.uint8)


def with_pseudo_classes(batch: Batch, query: Tensor, support: Tensor, deepest: int) -> Batch:
    """The batch with the labels of its pseudo-classes, where an episode asks for one.

    What is 255 stays 255: padding, above all, which looks the same in every image.

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
        ignored = torch.cat([query_labels[row, None], support_labels[row]]) == IGNORE
        small = F.interpolate(ignored[:, None].float(), size=maps.shape[-2:], mode="area")[:, 0]
        found = pseudo_labels(maps, small < 0.5, torch.Generator().manual_seed(seed))
        if found is None:
            continue  # the episode keeps its class
        large = F.interpolate(found[:, None], size=query_labels.shape[-2:], mode="nearest")[:, 0]
        labels = large.masked_fill(ignored, IGNORE)
        query_labels[row], support_labels[row] = labels[0], labels[1:]
        guides[row] = (labels[1:] == 1).to(guides.dtype)
    return replace(batch, query_labels=query_labels, support_labels=support_labels, guides=guides)
