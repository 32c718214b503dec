"""Pseudo-classes: regions that all images of an episode share."""

import torch

from arnet.training.batches import Batch
from arnet.training.pseudo import pseudo_labels, with_pseudo_classes

WHOLE = torch.ones(2, 12, 12, dtype=torch.bool)


def maps(*rows: tuple[int, ...]) -> torch.Tensor:
    """One image each, whose 12 columns by 12 rows have three looks; 4 rows of each number."""
    generator = torch.Generator().manual_seed(3)
    looks = torch.randn(5, 16, generator=generator)
    images = torch.stack([looks[torch.tensor(row).repeat_interleave(4)].T for row in rows])
    noise = torch.randn(len(rows), 16, 12, 12, generator=generator)
    return images[..., None].expand(-1, -1, -1, 12) + 0.1 * noise


def test_the_region_is_in_every_image() -> None:
    found = set()
    for seed in range(40):
        labels = pseudo_labels(
            maps((0, 1, 2), (3, 0, 1)), WHOLE, torch.Generator().manual_seed(seed)
        )
        if labels is None:
            continue
        assert labels.shape == (2, 12, 12) and labels.dtype == torch.uint8
        assert bool((labels.float().mean(dim=(1, 2)) > 0.02).all())
        inner = labels[:, 1::4, :].float().mean(dim=2)  # away from where two looks meet
        found.add(tuple(map(tuple, inner.round().int().tolist())))
    # Look 0 is in the first rows of one image and in the middle of the other; look 1 below.
    assert ((1, 0, 0), (0, 1, 0)) in found or ((0, 1, 0), (0, 0, 1)) in found


def test_images_that_share_nothing_have_no_region() -> None:
    tries = [
        pseudo_labels(maps((0, 0, 0), (1, 1, 1)), WHOLE, torch.Generator().manual_seed(seed))
        for seed in range(10)
    ]
    assert all(labels is None for labels in tries)


def batch(pseudo: list[int]) -> Batch:
    zeros = torch.zeros(2, 1, 24, 24, dtype=torch.uint8)
    return Batch(
        torch.zeros(0), zeros[:, 0] + 2, torch.zeros(0), zeros + 2, zeros, torch.tensor(pseudo)
    )


def test_only_the_episodes_that_ask_change() -> None:
    query, support = maps((0, 1, 2), (0, 1, 2)), maps((1, 0, 2), (1, 0, 2))[:, None]
    same = batch([-1, -1])
    assert with_pseudo_classes(same, query, support, 16) is same
    changed = with_pseudo_classes(batch([-1, 5]), query, support, 16)
    assert bool((changed.query_labels[0] == 2).all()) and not changed.guides[0].any()
    assert set(changed.query_labels[1].unique().tolist()) == {0, 1}
    assert torch.equal(changed.guides[1], changed.support_labels[1])
    assert changed.guides[1].any()


def test_padding_is_no_pseudo_class_and_is_not_trained_on() -> None:
    """A third of each image is padding, which looks the same in both."""
    query, support = maps((4, 1, 2), (4, 1, 2)), maps((4, 3, 1), (4, 3, 1))[:, None]
    asked = batch([-1, 0])
    asked.query_labels[:, :8], asked.support_labels[:, :, :8] = 255, 255
    objects = 0
    for seed in range(20):
        asked.pseudo[1] = seed
        changed = with_pseudo_classes(asked, query, support, 16)
        labels = torch.stack([changed.query_labels[1], changed.support_labels[1, 0]])
        assert bool((labels[:, :8] == 255).all())
        assert not changed.guides[1, :, :8].any()
        objects += bool((labels == 1).any())
    assert objects > 5


def test_what_is_padding_through_and_through_has_no_region() -> None:
    found = pseudo_labels(maps((0, 1, 2), (0, 1, 2)), ~WHOLE, torch.Generator().manual_seed(0))
    assert found is None
