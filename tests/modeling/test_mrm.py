import pytest
import torch

from arnet.modeling.cbam import CBAM
from arnet.modeling.mrm import MRM


def inputs_of(module, call):
    """What a part of the network is given while ``call`` runs."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    call()
    handle.remove()
    return seen[0]


def make_mrm(cbam="input"):
    """An MRM whose first two convolutions pass [F_q; f_u(V_s)] on."""
    torch.manual_seed(0)
    mrm = MRM(1, 2, mask_channels=4, cbam_reduction=2, cbam_kernel=3, aspp_rates=(1,), cbam=cbam)
    with torch.no_grad():
        for block in (mrm.conv1, mrm.conv2):
            block[0].weight.zero_()
            block[0].bias.zero_()
            for channel in range(2):
                block[0].weight[channel, channel, 1, 1] = 1
    return mrm


QUERY = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
VECTOR = torch.tensor([[7.0]])
MASKS = torch.rand(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))


def test_f4_is_the_masks_then_the_convolved_features():
    """Eqs 5 and 6: F3 = [F_q; f_u(V_s)], F4 = [q1; s; conv(conv(F3))]."""
    mrm = make_mrm()
    f4 = inputs_of(mrm.attention, lambda: mrm(QUERY, VECTOR, MASKS))
    expected = torch.cat([MASKS, QUERY, torch.full((1, 1, 2, 2), 7.0)], dim=1)
    torch.testing.assert_close(f4, expected)
    assert not torch.allclose(f4, expected.flip(1))


def test_x_is_added_to_its_convolutions():
    """Eq. 7: X = CBAM(F4), q2 = ASPP(X ⊕ conv(conv(X)))."""
    mrm = make_mrm()
    f4 = inputs_of(mrm.attention, lambda: mrm(QUERY, VECTOR, MASKS))
    into_aspp = inputs_of(mrm.aspp, lambda: mrm(QUERY, VECTOR, MASKS))
    x = mrm.attention(f4)
    torch.testing.assert_close(into_aspp, x + mrm.residual[1](mrm.residual[0](x)))
    assert not torch.allclose(into_aspp, x), "the branch adds something"
    torch.testing.assert_close(mrm.aspp(into_aspp), mrm(QUERY, VECTOR, MASKS))


@pytest.mark.parametrize("cbam", ["residual", "none"])
def test_cbam_elsewhere(cbam):
    mrm = make_mrm(cbam)
    x = inputs_of(mrm.residual, lambda: mrm(QUERY, VECTOR, MASKS))
    into_aspp = inputs_of(mrm.aspp, lambda: mrm(QUERY, VECTOR, MASKS))
    torch.testing.assert_close(x[:, :4], MASKS)
    branch = mrm.residual[1](mrm.residual[0](x))
    attended = branch if cbam == "none" else mrm.residual[2](branch)
    torch.testing.assert_close(into_aspp, x + attended)
    assert any(isinstance(part, CBAM) for part in mrm.modules()) == (cbam == "residual")


def test_everything_given_matters():
    mrm = make_mrm()
    logits = mrm(QUERY, VECTOR, MASKS)
    assert logits.shape == (1, 2, 2, 2)
    for changed in (
        (QUERY + 1, VECTOR, MASKS),
        (QUERY, VECTOR + 1, MASKS),
        (QUERY, VECTOR, 1 - MASKS),
    ):
        assert not torch.allclose(mrm(*changed), logits)
