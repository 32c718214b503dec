"""The prior is the training-free baseline as a map."""

import torch

from arnet.config_file import load_config
from arnet.modeling import ARNet
from arnet.modeling.prior import prototypes, similarity


def test_cells_like_the_object_are_positive() -> None:
    looks = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    support = looks[0][None, :, None, None].repeat(1, 1, 4, 4)
    support[..., 2:] = looks[1][None, :, None, None]
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    pair = prototypes(support, mask)
    torch.testing.assert_close(pair[0], looks, rtol=1e-3, atol=1e-3)
    query = support.flip(3) * 7  # lengths do not count
    margin = similarity(query, pair)
    assert margin.shape == (1, 1, 4, 4)
    assert bool((margin[..., 2:] > 0).all()) and bool((margin[..., :2] < 0).all())
    torch.testing.assert_close(similarity(query, pair.flip(1)), -margin)


def make(*overrides: str) -> ARNet:
    config = load_config(None, [f"model.{o}" for o in ("channels=8", *overrides)])
    torch.manual_seed(0)
    return ARNet(config.model).eval()


def test_an_untrained_model_with_a_prior_says_what_the_prior_says() -> None:
    model = make("prior=10", "backbone.name=resnet18")
    torch.nn.init.zeros_(model.mrm.aspp.classify.weight)
    query, support = torch.randn(1, 384, 9, 9), torch.randn(1, 2, 384, 9, 9)
    masks = (torch.rand(1, 2, 65, 65) > 0.5).float()
    with torch.no_grad():
        q2 = model(query, support, masks).q2
        state = model.encode_features(support, masks)
        expected = similarity(query[:, -256:], state.prior.mean(dim=1))
    torch.testing.assert_close(q2[:, 1:] - q2[:, :1], 10 * expected)
    assert state.add(state).prior.shape == (1, 4, 2, 256)


def test_without_it_nothing_of_it_is_kept() -> None:
    model = make("backbone.name=resnet18")
    support = torch.randn(1, 1, 384, 9, 9)
    assert model.encode_features(support, torch.ones(1, 1, 65, 65)).prior is None
    assert not [name for name, _ in model.named_parameters() if "prior" in name]
