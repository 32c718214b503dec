"""Batches of episodes, by number: batch n is the same whoever asks for it and whenever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from arnet.data.episodes import GUIDES, VIEWS, Episode, TrainingEpisodes
from arnet.data.transforms import binary_mask
from arnet.data.weak import weaken
from arnet.inputs import InputSource


@dataclass(frozen=True)
class Batch:
    """Episodes of the same number of shots.

    Attributes:
        query: images (B, 3, S, S) or the backbone's features (B, C, h, w).
        query_labels: (B, S, S) uint8, 0, 1 or 255.
        support: (B, k, 3, S, S) or (B, k, C, h, w).
        support_labels: (B, k, S, S) uint8.
        guides: (B, k, S, S) uint8, 0 or 1: the supports' masks as the model is given them.
        pseudo: (B,) int64, a seed of 0 or more where a pseudo-class replaces the labels, else -1.
    """

    query: Tensor
    query_labels: Tensor
    support: Tensor
    support_labels: Tensor
    guides: Tensor
    pseudo: Tensor

    def part(self, which: slice) -> Batch:
        """Some of the episodes."""
        return Batch(*(tensor[which] for tensor in vars(self).values()))

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))


class EpisodeBatches(Dataset[Batch]):
    """Batch number n of a training."""

    def __init__(
        self,
        episodes: TrainingEpisodes,
        source: InputSource,
        batch_size: int,
        share: slice,
        seed: int,
        weak_guides: float = 0.0,
        pseudo_classes: float = 0.0,
    ) -> None:
        """Prepare the batches.

        Args:
            episodes: draws the episodes.
            source: reads their images.
            batch_size: episodes of a batch, over all processes.
            share: the part of them that this process reads.
            seed: of the augmentation and of what follows.
            weak_guides: how often a support's mask is made careless, 0..1.
            pseudo_classes: how often an episode is about a pseudo-class, 0..1.
        """
        self.episodes = episodes
        self.source = source
        self.batch_size = batch_size
        self.share = share
        self.seed = seed
        self.weak_guides = weak_guides
        self.pseudo_classes = pseudo_classes

    def __getitem__(self, number: int) -> Batch:
        drawn = self.episodes.draw_batch(number, self.batch_size)
        first = number * self.batch_size
        read = [
            self._read(drawn[place], first + place) for place in range(self.batch_size)[self.share]
        ]
        return Batch(*(torch.stack(column) for column in zip(*read, strict=True)))

    def _read(self, episode: Episode, number: int) -> tuple[Tensor, ...]:
        seeds = np.random.default_rng([self.seed, number, VIEWS]).integers(
            2**31, size=1 + len(episode.supports)
        )
        rng = np.random.default_rng([self.seed, number, GUIDES])
        names = (episode.query, *episode.supports)
        images = []
        labels = []
        guides = []
        for name, seed in zip(names, seeds, strict=True):
            image, mask = self.source.read(name, int(seed))
            label = binary_mask(mask, episode.class_id)
            guide = (label == 1).astype(np.uint8)
            if rng.random() < self.weak_guides:
                guide = weaken(guide, rng)
            images.append(image)
            labels.append(torch.from_numpy(label))
            guides.append(torch.from_numpy(guide))
        pseudo = int(rng.integers(2**31)) if rng.random() < self.pseudo_classes else -1
        return (
            images[0],
            labels[0],
            torch.stack(images[1:]),
            torch.stack(labels[1:]),
            torch.stack(guides[1:]),
            torch.tensor(pseudo),
        )
