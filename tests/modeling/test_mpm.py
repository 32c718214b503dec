import pytest
import torch

from arnet.modeling.layers import AREA_EPSILON, masked_pool, resize_mask, tile
from arnet.modeling.mpm import MPM

TARGET = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
GUIDE = torch.tensor([[5.0, 6.0], [7.0, 8.0]]).view(1, 1, 2, 2)
MASK = torch.tensor([[1.0, 0.0], [0.5, 0.0]]).view(1, 1, 2, 2)
# F1 = M ⊗ F = [[5, 0], [3.5, 0]]; its sum is 8.5, the area of M is 1.5, the map has 4 cells.
F1 = torch.tensor([[5.0, 0.0], [3.5, 0.0]])
VECTOR = {"area": 8.5 / (1.5 + AREA_EPSILON), "map": 8.5 / 4}


@pytest.mark.parametrize("pooling", ["area", "map"])
def test_masked_pooling_is_equation_3(pooling):
    assert masked_pool(GUIDE, MASK, pooling).item() == pytest.approx(VECTOR[pooling], rel=1e-6)
    assert VECTOR["area"] == pytest.approx(5.66, abs=0.01)
    assert VECTOR["map"] == 2.125


def test_pooling_by_area_does_not_grow_with_the_object_and_by_map_does():
    features = torch.ones(1, 3, 8, 8)
    small, large = torch.zeros(2, 1, 1, 8, 8)
    small[..., :2, :2] = 1
    large[..., :4, :4] = 1
    area = [masked_pool(features, mask, "area") for mask in (small, large)]
    torch.testing.assert_close(*area, rtol=1e-3, atol=0)
    whole = [masked_pool(features, mask, "map") for mask in (small, large)]
    torch.testing.assert_close(4 * whole[0], whole[1])


def test_an_empty_mask_pools_to_zero():
    for pooling in ("area", "map"):
        assert not masked_pool(GUIDE, torch.zeros_like(MASK), pooling).any()


def test_pooling_is_in_float32_whatever_the_features():
    features = torch.full((1, 1, 40, 40), 100.0, dtype=torch.float16)
    vector = masked_pool(features, torch.ones(1, 1, 40, 40))  # a sum of 160000 overflows fp16
    assert vector.dtype == torch.float32
    assert vector.item() == pytest.approx(100, rel=1e-5)


def test_mask_is_averaged_to_feature_size():
    mask = torch.zeros(1, 8, 8)
    mask[:, :, 4:] = 1
    assert resize_mask(mask, (2, 2)).shape == (1, 1, 2, 2)
    assert resize_mask(mask, (2, 2)).mean().item() == pytest.approx(0.5)
    mask[:, :, 3] = 1
    soft = resize_mask(mask, (2, 2))
    assert ((soft > 0) & (soft < 1)).any(), "soft values stay"
    assert soft.min() >= 0 and soft.max() <= 1


def test_tile_is_the_vector_at_every_cell():
    tiled = tile(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 7, 3, 4))
    assert tiled.shape == (1, 2, 3, 4)
    assert (tiled[0, 0] == 1).all() and (tiled[0, 1] == 2).all()


def see_through(mpm):
    """Convolutions that pass their input on; the logits are 1 a + 10 b + 100 c of its channels."""
    with torch.no_grad():
        for parameter in mpm.parameters():
            parameter.zero_()
        inputs = mpm.conv1[0].in_channels
        for channel in range(inputs):
            mpm.conv1[0].weight[channel, channel, 1, 1] = 1
            mpm.conv2[0].weight[channel, channel, 1, 1] = 1
            mpm.conv3.weight[1, channel, 1, 1] = 10**channel
    return mpm


@pytest.mark.parametrize("pooling", ["area", "map"])
def test_inputs_and_their_order_are_equation_4(pooling):
    mpm = see_through(MPM(1, 3, pooling))
    logits = mpm(TARGET, GUIDE, MASK)[0, 1]
    torch.testing.assert_close(logits, TARGET[0, 0] + 10 * F1 + 100 * VECTOR[pooling])
    swapped = mpm(GUIDE, TARGET, MASK)[0, 1]
    assert not torch.allclose(swapped, logits), "the guide is not the target"


def test_without_f1_the_vector_remains():
    mpm = see_through(MPM(1, 2, masked_features=False))
    logits = mpm(TARGET, GUIDE, MASK)[0, 1]
    torch.testing.assert_close(logits, TARGET[0, 0] + 10 * VECTOR["area"])


def test_three_convolutions_of_3x3():
    """The mask at a cell sees the features up to three cells away."""
    torch.manual_seed(0)
    mpm = MPM(2, 16)
    mask = torch.zeros(1, 1, 9, 9)  # F1 and F2 are zero
    target = torch.randn(1, 2, 9, 9)
    for distance, seen in ((3, True), (4, False)):
        changed = target.clone()
        changed[..., 4, 4 + distance] += 5
        moved = (mpm(changed, target, mask) != mpm(target, target, mask))[0, :, 4, 4].any()
        assert moved == seen
