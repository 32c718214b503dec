import numpy as np
import pytest
import torch
from PIL import Image

from arnet.config import AugmentConfig
from arnet.data.transforms import augment, binary_mask, normalize, prepare, resize, to_tensors
from arnet.runtime.errors import ConfigError
from arnet.runtime.preprocessing import MEAN, STD

GEOMETRY = AugmentConfig(flip=0.5, scale=1.0, scale_range=(0.7, 1.5), rotate=1.0, degrees=30)
STILL = AugmentConfig(flip=0.0, scale=0.0, rotate=0.0, color=0.0)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def scene():
    """A lopsided object; the photograph is white where the mask is 1 and black where it is 0."""
    mask = np.zeros((60, 90), np.uint8)
    mask[10:30, 15:40] = 1
    mask[30:45, 15:22] = 1
    return np.repeat(255 * mask[:, :, None], 3, axis=2), mask


def test_binary_mask():
    index = np.array([[0, 3, 5, 255]])
    assert binary_mask(index, 3).tolist() == [[0, 1, 0, 255]]
    assert binary_mask(index, 3).dtype == np.uint8
    assert binary_mask(np.array([[3, 9]]), 3, ignore=9).tolist() == [[1, 255]]
    assert binary_mask(index, 5).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("seed", range(25))
def test_image_and_mask_move_together(scene, seed):
    config = AugmentConfig(**{**vars(GEOMETRY), "color": 0.0})
    image, mask = augment(*to_tensors(*scene), config, seeded(seed))
    assert image.shape == (3, 60, 90) and mask.shape == (60, 90)
    assert image.dtype == mask.dtype == torch.uint8
    white = (image[0] > 127) & (mask != 255)
    wrong = white != (mask == 1)
    # Bilinear and nearest sampling may disagree on the outline, about 120 pixels long.
    assert wrong.sum() < 40
    assert (mask == 1).any()


def test_augmentation_moves_scales_and_turns(scene):
    """Not the identity: over the seeds the object changes its place and its area."""
    masks = [augment(*to_tensors(*scene), GEOMETRY, seeded(s))[1] for s in range(20)]
    areas = [int((mask == 1).sum()) for mask in masks]
    assert min(areas) < 0.75 * scene[1].sum() and max(areas) > 1.25 * scene[1].sum()
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 20


def test_outside_is_ignored(scene):
    shrink = AugmentConfig(flip=0, scale=1, scale_range=(0.5, 0.5), rotate=0, color=0)
    image, mask = augment(*to_tensors(*scene), shrink, seeded(0))
    outside = mask == 255
    assert 0.7 < outside.float().mean() < 0.8  # three quarters
    assert (image[:, outside] != 0).all() and (image[:, outside] != 255).all()
    rotate = AugmentConfig(flip=0, scale=0, rotate=1, degrees=45, color=0)
    _, mask = augment(*to_tensors(*scene), rotate, seeded(0))
    assert (mask == 255).any()
    assert set(mask.unique().tolist()) <= {0, 1, 255}


def test_ignored_pixels_stay_ignored_and_class_indices_survive(scene):
    image, mask = scene
    index = np.where(mask == 1, 17, 0).astype(np.uint8)
    index[50:] = 255
    flip = AugmentConfig(flip=1, scale=0, rotate=0, color=0)
    _, moved = augment(*to_tensors(image, index), flip, seeded(0))
    assert (moved.numpy() == index[:, ::-1]).all()


def test_a_move_that_would_lose_the_object_is_not_made():
    mask = np.zeros((60, 90), np.uint8)
    mask[0, 0] = 1
    image = np.zeros((60, 90, 3), np.uint8)
    zoom = AugmentConfig(flip=0, scale=1, scale_range=(4, 4), rotate=0, color=0)
    for seed in range(20):
        assert (augment(*to_tensors(image, mask), zoom, seeded(seed))[1] == 1).any()


def test_one_seed_gives_one_result_and_leaves_the_global_generator(scene):
    before = torch.get_rng_state()
    config = AugmentConfig(color=1.0, scale=1.0, rotate=1.0)
    first, again, other = (augment(*to_tensors(*scene), config, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(before, torch.get_rng_state())


def test_no_probability_changes_nothing(scene):
    image, mask = augment(*to_tensors(*scene), STILL, seeded(0))
    assert (image.numpy().transpose(1, 2, 0) == scene[0]).all() and (mask.numpy() == scene[1]).all()


def test_colour_changes_the_photograph_only(scene):
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    color = AugmentConfig(flip=0, scale=0, rotate=0, color=1)
    changed, mask = augment(*to_tensors(image, scene[1]), color, seeded(1))
    assert (changed.numpy().transpose(1, 2, 0) != image).mean() > 0.5
    assert (mask.numpy() == scene[1]).all()


def test_probability_is_a_probability(scene):
    flip = AugmentConfig(flip=0.25, scale=0, rotate=0, color=0)
    generator = seeded(0)
    flipped = 0
    for _ in range(800):
        _, mask = augment(*to_tensors(*scene), flip, generator)
        flipped += not (mask.numpy() == scene[1]).all()
    assert 150 < flipped < 250


def test_resize_squashes_and_keeps_indices(scene):
    image, mask = resize(*to_tensors(scene[0], scene[1] * 17), 33)
    assert image.shape == (3, 33, 33) and mask.shape == (33, 33)
    assert set(mask.unique().tolist()) == {0, 17}
    white = image[0] > 127
    # Rounding down in place of the nearest centre shifts the mask: 35 pixels differ then.
    assert (white != (mask == 17)).sum() < 15
    image, mask = resize(*to_tensors(*scene), (20, 50))
    assert image.shape == (3, 20, 50) and mask.shape == (20, 50)


def test_resize_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    image, _ = resize(*to_tensors(stripes, np.zeros((64, 64), np.uint8)), 16)
    # Without antialiasing only every fourth pair of columns is looked at: all black.
    assert (image[:, :, 2:-2].float() - 255 / 4).abs().max() < 20


def test_normalize():
    white = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    expected = [(1 - mean) / std for mean, std in zip(MEAN, STD, strict=True)]
    result = normalize(white)
    assert result.dtype == torch.float32
    assert result[:, 0, 0].tolist() == pytest.approx(expected)
    assert normalize(torch.zeros(2, 3, 4, 4))[1, 2, 0, 0].item() == pytest.approx(-0.406 / 0.225)


def test_prepare(scene):
    image, mask = prepare(*scene, 33)
    assert type(image) is type(mask) is torch.Tensor
    assert image.shape == (3, 33, 33) and image.dtype == torch.float32
    assert mask.shape == (33, 33) and mask.dtype == torch.uint8
    moved = prepare(*scene, 33, GEOMETRY, seeded(5))
    assert not torch.equal(moved[1], mask)
    assert torch.equal(moved[1], prepare(*scene, 33, GEOMETRY, seeded(5))[1])
    with pytest.raises(ConfigError, match="generator"):
        prepare(*scene, 33, GEOMETRY)


def test_the_arrays_that_come_in_are_not_changed(scene):
    copies = [array.copy() for array in scene]
    _, mask = augment(*to_tensors(*scene), GEOMETRY, seeded(0))
    mask[:] = 9
    assert all((a == b).all() for a, b in zip(scene, copies, strict=True))


def test_mask_resize_is_that_of_pillow(scene):
    """At sizes where no centre falls between two pixels; there the rounding may differ."""
    _, mask = resize(*to_tensors(*scene), 40)
    assert (mask.numpy() == np.array(Image.fromarray(scene[1]).resize((40, 40), 0))).all()
