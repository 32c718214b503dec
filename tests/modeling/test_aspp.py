import pytest
import torch

from arnet.modeling.aspp import ASPP


def moved_by(aspp, cell, x):
    """Whether the logits at the centre change when a cell of the input does."""
    changed = x.clone()
    changed[..., cell[0], cell[1]] += 5
    return bool((aspp(changed) != aspp(x))[..., 7, 7].any())


@pytest.fixture
def x():
    return torch.randn(1, 4, 15, 15, generator=torch.Generator().manual_seed(0))


def make_aspp(pooled):
    torch.manual_seed(0)
    aspp = ASPP(4, 16, rates=(3, 6))
    if not pooled:
        torch.nn.init.zeros_(aspp.pooled[0].weight)
    return aspp


def test_fields_of_view_are_the_rates(x):
    aspp = make_aspp(pooled=False)
    for distance in range(8):
        assert moved_by(aspp, (7, 7 + distance), x) == (distance in (0, 3, 6)), distance


def test_image_pooling_sees_everything(x):
    assert moved_by(make_aspp(pooled=True), (7, 12), x)
    aspp = make_aspp(pooled=True)
    torch.testing.assert_close(
        aspp.pooled(x.mean(dim=(2, 3), keepdim=True)),
        aspp.pooled(x.flip(2).mean(dim=(2, 3), keepdim=True)),
    )


def test_logits_have_the_size_of_the_map_and_a_branch_for_each_rate(x):
    aspp = ASPP(4, 8)
    assert aspp(x).shape == (1, 2, 15, 15)
    assert [branch[0].dilation[0] for branch in aspp.branches] == [1, 6, 12, 18]
    assert aspp.project[0].in_channels == 5 * 8


def test_a_map_smaller_than_the_rates():
    assert ASPP(4, 8)(torch.randn(2, 4, 3, 3)).isfinite().all()


def test_batch_norm_leaves_the_single_cell_of_image_pooling_alone():
    aspp = ASPP(4, 8, norm="batch").train()
    assert aspp(torch.randn(1, 4, 5, 5)).isfinite().all()
