from dataclasses import replace

import numpy as np
import pytest
import torch

from arnet.config import AugmentConfig
from arnet.data.folder import folder
from arnet.inputs import PLAIN, FeatureCache, ImageInput
from arnet.modeling import Backbone
from arnet.runtime.errors import DataError

SIZE = 33


@pytest.fixture
def dataset(shapes):
    return folder(shapes, "val")


@pytest.fixture
def backbone(make_config):
    torch.manual_seed(0)
    return Backbone(make_config().model.backbone)


@pytest.fixture
def make_cache(dataset, backbone, tmp_path):
    def make(size=SIZE, augmentation=None, name="shapes", views=2, backbone=backbone):
        images = ImageInput(dataset, size, augmentation or AugmentConfig())
        return FeatureCache(images, backbone, tmp_path, name, views)

    return make


def test_an_image_without_a_seed_is_plain_and_with_one_augmented(dataset):
    images = ImageInput(dataset, SIZE, AugmentConfig(flip=1))
    image_id = dataset.ids[0]
    plain, mask = images.read(image_id)
    assert plain.shape == (3, SIZE, SIZE) and mask.shape == (SIZE, SIZE)
    assert torch.equal(plain, images.read(image_id, PLAIN)[0])
    augmented, moved = images.read(image_id, seed=5)
    assert torch.equal(augmented, images.read(image_id, seed=5)[0])
    assert not torch.equal(augmented, plain) and not np.array_equal(moved, mask)
    assert not torch.equal(augmented, images.read(image_id, seed=6)[0])


def test_the_plain_view_is_what_the_backbone_says_but_for_bfloat16(make_cache, dataset, backbone):
    cache = make_cache()
    cache.fill(dataset.ids)
    assert cache.features
    for image_id in dataset.ids:
        image, mask = cache.images.read(image_id)
        features, cached = cache.read(image_id)
        assert np.array_equal(mask, cached)
        exact = backbone(image[None])[0]
        assert features.shape == exact.shape and features.dtype == torch.bfloat16
        # bfloat16 has 8 bits, and the backbone itself ran in it: a percent of the features' size.
        error = (features.float() - exact).norm() / exact.norm()
        assert 0 < error < 0.02
    other = backbone(cache.images.read(dataset.ids[0])[0][None])[0]
    assert (features.float() - other).norm() / other.norm() > 0.1


def test_seeds_choose_among_the_stored_views(make_cache, dataset):
    cache = make_cache(views=3)
    image_id = dataset.ids[0]
    cache.fill([image_id])
    views = [cache.read(image_id, seed) for seed in range(40)]
    assert len({tuple(features.flatten().float().tolist()) for features, _ in views}) == 3
    plain = cache.read(image_id)[0]
    assert any(torch.equal(features, plain) for features, _ in views)


def test_a_view_and_its_mask_belong_together(make_cache, dataset, backbone):
    """Flipping the view flips the mask: each stored mask fits its own features only."""
    cache = make_cache(augmentation=AugmentConfig(flip=1, scale=0, rotate=0, color=0))
    image_id = dataset.ids[0]
    cache.fill([image_id])
    plain, mask = cache.read(image_id)
    flipped = next(
        (features, labels)
        for features, labels in (cache.read(image_id, seed) for seed in range(20))
        if not torch.equal(features, plain)
    )
    image, _ = cache.images.read(image_id)
    torch.testing.assert_close(
        flipped[0].float(), backbone(image.flip(-1)[None])[0], rtol=0.1, atol=0.3
    )
    assert (flipped[1] != mask[:, ::-1]).mean() < 0.1 < (flipped[1] != mask).mean()


def test_a_photograph_may_have_any_name_that_a_file_can_have(make_cache, dataset):
    """Also one that is too long where its letters are written in ASCII, or with an ending."""
    names = ["焊缝" * 20, "焊缝" * 19 + "焊点", "ж" * 120, "a" * 251]
    originals = dict(zip(names, dataset.ids, strict=False))

    class Renamed:
        image = staticmethod(lambda name: dataset.source.image(originals[name]))
        mask = staticmethod(lambda name: dataset.source.mask(originals[name]))

    cache = make_cache(views=1)
    cache.images = ImageInput(replace(dataset, source=Renamed()), SIZE, AugmentConfig())
    assert cache.fill(names) == len(names) and cache.fill(names) == 0
    assert len({cache.read(name)[0].float().sum().item() for name in names}) == len(names)


def test_features_that_were_cached_before_are_found(make_cache):
    """The file names of a cache stay what they are, up to the longest that there could be."""
    cache = make_cache()
    assert cache._path("voc/p 1").name == "voc%2Fp%201.safetensors"
    assert cache._path("ж" * 40 + "abc").name == "%D0%B6" * 40 + "abc.safetensors"


def test_a_fill_that_was_interrupted_continues(make_cache, dataset):
    class Killed(BaseException):
        pass

    def kill(done, total):
        if done >= 4:
            raise Killed

    cache = make_cache()
    with pytest.raises(Killed):
        cache.fill(dataset.ids, kill, batch_size=4)  # two images of two views
    assert len(list(cache.folder.iterdir())) == 4
    before = {path.name: path.read_bytes() for path in cache.folder.iterdir()}
    told = []
    again = make_cache()
    assert again.fill(dataset.ids, lambda *numbers: told.append(numbers)) == len(dataset.ids) - 4
    assert told[-1] == (len(dataset.ids) - 4, len(dataset.ids) - 4)
    assert all((cache.folder / name).read_bytes() == content for name, content in before.items())
    assert again.fill(dataset.ids) == 0
    assert all(again.read(image_id) for image_id in dataset.ids)


def test_what_the_features_depend_on_has_a_folder_of_its_own(make_cache, make_config, backbone):
    def other_backbone(*overrides, change=None):
        torch.manual_seed(0)
        other = Backbone(make_config(*overrides).model.backbone)
        if change:
            with torch.no_grad():
                change(other)
        return make_cache(backbone=other)

    usual = make_cache()
    assert make_cache().folder == other_backbone().folder == usual.folder
    others = [
        make_cache(size=65),
        make_cache(name="other data"),
        make_cache(views=3),
        make_cache(augmentation=AugmentConfig(degrees=20)),
        other_backbone(change=lambda b: b.layer3[1].conv2.weight[0, 0, 0, 0].add_(1e-3)),
        other_backbone(change=lambda b: b.bn1.running_mean[0].add_(1e-3)),
        other_backbone("model.backbone.output_stride=16"),
        other_backbone("model.backbone.layers=[layer3]"),
    ]
    folders = {cache.folder for cache in (usual, *others)}
    assert len(folders) == len(others) + 1


def test_augmentation_does_not_matter_where_there_is_one_view(make_cache):
    one = make_cache(views=1)
    assert make_cache(views=1, augmentation=AugmentConfig(degrees=20)).folder == one.folder
    assert make_cache(augmentation=AugmentConfig(degrees=20)).folder != make_cache().folder


def test_features_that_cannot_be_read_are_told(make_cache, dataset):
    cache = make_cache()
    image_id = dataset.ids[0]
    with pytest.raises(DataError, match=image_id):
        cache.read(image_id)
    cache.fill([image_id])
    (path,) = cache.folder.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be read") as caught:
        cache.read(image_id)
    assert str(path) in caught.value.hint


def test_a_mask_of_another_size_is_told(dataset):
    class Cropped:
        image = staticmethod(dataset.source.image)

        @staticmethod
        def mask(image_id):
            return dataset.source.mask(image_id)[1:]

    name = dataset.ids[0]
    ImageInput(dataset, SIZE, AugmentConfig()).read(name)
    cropped = replace(dataset, source=Cropped())
    with pytest.raises(DataError, match=rf"{name} has .* pixels, its mask"):
        ImageInput(cropped, SIZE, AugmentConfig()).read(name)
