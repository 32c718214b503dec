import numpy as np
import pytest
import torch

from arnet.modeling.cmm import CMM, ForgetEnhanceBlock


def causal(convolution, x, dilation):
    """C(x) of eq. 8 with explicit loops: step t sees x[t], x[t - d], x[t - 2d], ..."""
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
    kernel = weight.shape[2]
    out = np.tile(bias[:, None], (1, x.shape[1])).astype(np.float64)
    for t in range(x.shape[1]):
        for tap in range(kernel):
            source = t - (kernel - 1 - tap) * dilation
            if source >= 0:
                out[:, t] += weight[:, :, tap] @ x[:, source]
    return out


def reference(block, x, dilation):
    """Eq. 8: x ⊗ σ(C_f(x)) ⊕ tanh(C_u(x)) ⊗ σ(C_e(x))."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    forget, update, enhance = (
        causal(c, x, dilation) for c in (block.forget, block.update, block.enhance)
    )
    return x * sigmoid(forget) + np.tanh(update) * sigmoid(enhance)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_block_is_equation_8(kernel, dilation):
    torch.manual_seed(0)
    block = ForgetEnhanceBlock(3, kernel, dilation, gate_bias=0.5)
    x = torch.randn(1, 3, 7)
    with torch.no_grad():
        found = block(x)[0].numpy()
    np.testing.assert_allclose(found, reference(block, x[0].numpy(), dilation), atol=1e-6)
    # Negative control: gates or taps in another place are another equation.
    block.forget, block.enhance = block.enhance, block.forget
    assert abs(found - reference(block, x[0].numpy(), dilation)).max() > 1e-2


def test_cmm_is_the_last_step_of_stacked_blocks():
    torch.manual_seed(0)
    cmm = CMM(3, (1, 2), gate_bias=2.0)
    vectors = torch.randn(2, 5, 3)
    with torch.no_grad():
        found = cmm(vectors).numpy()
    for n in range(2):
        x = vectors[n].T.numpy()
        for block, dilation in zip(cmm.blocks, (1, 2), strict=True):
            x = reference(block, x, dilation)
        np.testing.assert_allclose(found[n], x[:, -1], atol=1e-6)
        assert abs(found[n] - x[:, -2]).max() > 1e-2


@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 8])
def test_block_keeps_the_length_and_looks_at_earlier_shots_only(dilation):
    torch.manual_seed(0)
    block = ForgetEnhanceBlock(4, 2, dilation)
    x = torch.randn(1, 4, 6)
    with torch.no_grad():
        before = block(x)
        assert before.shape == x.shape
        for shot in range(6):
            changed = x.clone()
            changed[:, :, shot] += 1
            moved = (block(changed) != before).any(dim=1)[0].tolist()
            expected = [step in (shot, shot + dilation) for step in range(6)]
            assert moved == expected


def test_default_dilations_see_eight_shots():
    torch.manual_seed(0)
    cmm = CMM(4)
    vectors = torch.randn(1, 10, 4)
    with torch.no_grad():
        before = cmm(vectors)
        for shot in range(10):
            changed = vectors.clone()
            changed[:, shot] += 1
            assert bool((cmm(changed) != before).any()) == (shot >= 2), shot


def test_one_shot_passes_unchanged_and_two_do_not():
    cmm = CMM(4)
    vectors = torch.randn(2, 2, 4)
    assert torch.equal(cmm(vectors[:, :1]), vectors[:, 0])
    assert not torch.allclose(cmm(vectors), vectors[:, 1])


def test_gate_bias_starts_near_the_last_vector():
    vectors = torch.randn(1, 3, 16)
    distances = []
    for bias in (0.0, 2.0, 20.0):
        torch.manual_seed(0)
        distances.append((CMM(16, gate_bias=bias)(vectors) - vectors[:, -1]).norm().item())
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-4


def test_it_can_start_near_the_mean_of_five():
    torch.manual_seed(0)
    vectors = 0.2 * torch.rand(2, 5, 16)
    mean = vectors.mean(dim=1)
    with torch.no_grad():
        found = CMM(16, start="mean")(vectors)
        assert (found - mean).abs().max() < 0.01
        # Whatever the order of the shots; the other start gives the last one.
        assert (CMM(16, start="mean")(vectors.flip(1)) - mean).abs().max() < 0.01
        assert (CMM(16, gate_bias=2.0)(vectors) - mean).abs().max() > 0.05


def test_the_start_at_the_mean_is_trained_from():
    """Every weight gets a gradient, those of the gates that start at zero, too."""
    torch.manual_seed(0)
    cmm = CMM(8, start="mean")
    cmm(torch.rand(1, 5, 8)).square().sum().backward()
    for name, parameter in cmm.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("dilations", "kernel"), [((1, 2, 4), 2), ((1, 2), 3), ((), 2)])
def test_it_sees_the_shots_that_it_says(dilations, kernel):
    torch.manual_seed(0)
    cmm = CMM(3, dilations, kernel)
    vectors = torch.randn(1, 12, 3, requires_grad=True)
    cmm(vectors).sum().backward()
    told = vectors.grad[0].abs().sum(dim=1) > 0
    assert told.tolist() == [False] * (12 - cmm.shots_seen) + [True] * cmm.shots_seen
