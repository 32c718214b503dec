"""The prior: cells like the object are positive, by either answer; a state keeps what it needs."""

import pytest
import torch

from arnet.config_file import load_config
from arnet.modeling import ARNet
from arnet.modeling.prior import answers, compete, likeness, nearest, prior_features, similarity
from arnet.runtime.errors import ConfigError

OBJECT = torch.tensor([3.0, 1, 1, 0, 0, 0, 0, 1])
SURROUNDINGS = torch.tensor([0.0, 0, 1, 3, 2, 0, 0, 1])
OTHER = torch.tensor([1.0, 0, 0, 0, 1, 4, 0, 1])


def halves(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """A map (1, 8, 16, 16) of two looks."""
    support = left[None, :, None, None].repeat(1, 1, 16, 16)
    support[..., 8:] = right[None, :, None, None]
    return support


MASK = torch.zeros(1, 1, 16, 16)
MASK[..., :8] = 1


def test_cells_like_the_object_are_positive() -> None:
    found = prior_features(halves(OBJECT, SURROUNDINGS), MASK)
    assert found.shape == (1, 2, 1 + 64, 8)
    for side, look in zip(found[0], (OBJECT, SURROUNDINGS), strict=True):
        torch.testing.assert_close(
            torch.nn.functional.normalize(side[0], dim=0), look / look.norm(), rtol=1e-3, atol=1e-3
        )
    query = halves(SURROUNDINGS, OBJECT) * 7  # lengths do not count
    margin = similarity(query, found[:, None])
    assert margin.shape == (1, 1, 16, 16)
    assert bool((margin[..., 8:] > 0).all()) and bool((margin[..., :8] < 0).all())
    turned = similarity(query, found[:, None].flip(2))
    torch.testing.assert_close(turned, -margin)


def test_windows_keep_the_looks_that_the_mean_blurs() -> None:
    """An object of two looks: each is found as it is, the mean is like neither."""
    support = halves(OBJECT, SURROUNDINGS)
    support[..., :4] = OTHER[None, :, None, None]
    found = prior_features(support, MASK)
    cells = torch.nn.functional.normalize(support, dim=1).flatten(2)
    near = nearest(found[:, :, 1:], cells).view(2, 16, 16)
    torch.testing.assert_close(near[0, :, :8], torch.ones(16, 8))
    assert bool((near[0, :, 8:] < 0.5).all()) and bool((near[1, :, :8] < 0.5).all())
    mean = torch.nn.functional.normalize(found[:, 0, 0], dim=1) @ cells
    assert bool((mean.view(16, 16)[:, :8] < 0.9).all())


def test_every_window_belongs_to_one_side_or_none() -> None:
    found = prior_features(halves(OBJECT, SURROUNDINGS), MASK)[0, :, 1:].norm(dim=2)
    assert set(found.round().flatten().tolist()) == {0.0, 1.0}
    assert found.sum() == 64
    slanted = torch.zeros(1, 1, 16, 16)
    slanted[..., 0, 0] = 1
    assert prior_features(halves(OBJECT, SURROUNDINGS), slanted)[0, 0, 1:].norm() == 0
    assert prior_features(torch.rand(1, 8, 5, 3), torch.ones(1, 1, 5, 3)).shape == (1, 2, 1 + 15, 8)


def test_a_box_counts_less_where_it_holds_surroundings() -> None:
    box = MASK.clone()
    box[..., 8:11] = 1  # a quarter of what it holds is not the object
    direction = prior_features(halves(OBJECT, SURROUNDINGS), box)[0, 0, 0]
    mean = 8 * OBJECT + 3 * SURROUNDINGS
    similar = torch.nn.functional.cosine_similarity
    assert similar(direction, OBJECT, dim=0) > 0.99 > similar(mean, OBJECT, dim=0) + 0.01


def test_the_querys_own_look_counts_as_far_as_it_is_sure() -> None:
    cells = torch.nn.functional.normalize(halves(OTHER, SURROUNDINGS), dim=1).flatten(2)
    pair = torch.stack([OBJECT, SURROUNDINGS])[None]
    left = torch.zeros(1, 16, 16)
    left[..., :8] = 1
    near = torch.stack([left, 1 - left], dim=1).flatten(2)
    helped = answers(cells, pair, near).view(16, 16)
    unsure = answers(cells, pair, torch.ones_like(near)).view(16, 16)
    direction = torch.nn.functional.normalize(pair, dim=2) @ cells
    alone = (direction[0, 0] - direction[0, 1]).view(16, 16)
    assert bool((helped[:, :8] > 1 - 0.3 + 0.5 + alone[:, :8]).all())
    torch.testing.assert_close(unsure.sign(), alone.sign())


def test_where_two_classes_find_themselves_the_likest_keeps_it() -> None:
    margins = torch.ones(3, 1, 16, 16)
    margins[1, ..., 8:] = -1  # the second claims the left half only
    margins[2] = -1  # the third nothing
    alike = torch.stack([torch.full((1, 16, 16), value) for value in (0.5, 0.6, 0.9)])
    found = compete(margins, alike)
    torch.testing.assert_close(found[0, 0, :, :8], torch.full((16, 8), -50 * 0.1))
    assert bool((found[0, 0, :, 8:] == 1).all()), "unchallenged on the right"
    torch.testing.assert_close(found[1:], margins[1:])
    assert torch.equal(compete(margins[:1], alike[:1]), margins[:1]), "alone, as it is"


def test_likeness_is_compared_around_a_cell() -> None:
    margins, alike = torch.ones(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    alike[0] = 0.1
    alike[1, 0, 10, 10] = 0.5  # a single cell like the second
    assert bool((compete(margins, alike)[0] > 0).all())
    alike[1] = 0.2
    assert bool((compete(margins, alike)[0] < 0).all())


def test_likeness_is_that_to_the_object_alone() -> None:
    found = prior_features(halves(OBJECT, SURROUNDINGS), MASK)
    query = halves(SURROUNDINGS, OBJECT)
    alike = likeness(query, found[:, None])
    torch.testing.assert_close(alike[..., 8:], torch.full((1, 1, 16, 8), 2.0))
    other = prior_features(halves(OBJECT, OTHER), MASK)
    torch.testing.assert_close(likeness(query, other[:, None]), alike)


def test_classes_of_a_model_compete() -> None:
    model = make("prior=10", "backbone.name=resnet18")
    query, supports = torch.rand(1, 3, 65, 65), torch.rand(2, 1, 3, 65, 65)
    masks = (torch.rand(2, 1, 65, 65, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    with torch.no_grad():
        states = {n: model.encode_support(supports[n], masks[n]) for n in range(2)}
        alone = [model.segment(query, {n: states[n]})[n].q2 for n in range(2)]
        both = model.segment(query, states)
    margins = [q2[:, 1] - q2[:, 0] for q2 in alone]
    competed = [both[n].q2[:, 1] - both[n].q2[:, 0] for n in range(2)]
    claimed = (margins[0] > 0) & (margins[1] > 0)
    assert bool(claimed.any()), "else nothing is shown"
    assert bool(((competed[0] > 0) ^ (competed[1] > 0))[claimed].all())
    unchallenged = (margins[0] > 0) & (margins[1] <= 0)
    torch.testing.assert_close(competed[0][unchallenged], margins[0][unchallenged])


def make(*overrides: str) -> ARNet:
    config = load_config(None, [f"model.{o}" for o in ("channels=8", *overrides)])
    torch.manual_seed(0)
    return ARNet(config.model).eval()


def test_an_untrained_model_with_a_prior_says_what_the_prior_says() -> None:
    model = make("prior=10", "backbone.name=resnet18")
    torch.nn.init.zeros_(model.mrm.aspp.classify.weight)
    query, support = torch.rand(1, 384, 9, 9), torch.rand(1, 2, 384, 9, 9)
    masks = (torch.rand(1, 2, 65, 65) > 0.5).float()
    with torch.no_grad():
        q2 = model(query, support, masks).q2
        state = model.encode_features(support, masks)
        expected = similarity(query[:, -256:], state.prior)
    torch.testing.assert_close(q2[:, 1:] - q2[:, :1], 10 * expected)
    assert state.add(state).prior.shape == (1, 4, 2, 1 + 64, 256)


def test_it_is_as_weak_as_said_in_training_and_only_there() -> None:
    torch.manual_seed(0)
    query, support = torch.randn(1, 384, 9, 9), torch.randn(1, 1, 384, 9, 9)
    masks = (torch.rand(1, 1, 65, 65) > 0.5).float()
    plain, strong = (make(f"prior={p}", "backbone.name=resnet18") for p in (4, 12))
    weaker = make("prior=12", "prior_in_training=4", "backbone.name=resnet18")
    with torch.no_grad():
        weak, full = (m(query, support, masks).q2 for m in (plain, strong))
        assert (weak - full).abs().max() > 0.01
        torch.testing.assert_close(weaker(query, support, masks).q2, full)
        torch.testing.assert_close(weaker.train()(query, support, masks).q2, weak)


def test_mixed_precision_does_not_reach_it() -> None:
    torch.manual_seed(0)
    deep, masks = torch.rand(1, 256, 9, 9), (torch.rand(1, 1, 9, 9) > 0.5).float()
    exact = prior_features(deep, masks)
    with torch.autocast("cpu", torch.bfloat16):
        assert (deep.flatten(2).mT @ deep.flatten(2)).dtype == torch.bfloat16
        torch.testing.assert_close(prior_features(deep, masks), exact, rtol=0, atol=0)
        found = [f(deep, exact[None]) for f in (similarity, likeness)]
    torch.testing.assert_close(found, [f(deep, exact[None]) for f in (similarity, likeness)])


def test_one_in_training_only_is_refused() -> None:
    with pytest.raises(ConfigError, match="prior_in_training"):
        load_config(None, ["model.prior_in_training=5"])


def test_without_it_nothing_of_it_is_kept() -> None:
    model = make("backbone.name=resnet18")
    support = torch.randn(1, 1, 384, 9, 9)
    assert model.encode_features(support, torch.ones(1, 1, 65, 65)).prior is None
    assert not [name for name, _ in model.named_parameters() if "prior" in name]
