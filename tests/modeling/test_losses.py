import math

import pytest
import torch

from arnet.modeling import Prediction, arnet_loss


def logits(margins):
    """(…, 2, h, w) logits whose foreground is ahead by the margins (…, h, w)."""
    margins = torch.tensor(margins)
    return torch.stack([torch.zeros_like(margins), margins], dim=-3)


def cost(margin, label):
    """Cross-entropy of one pixel: ln(1 + e^-m) on the object, ln(1 + e^m) off it."""
    return math.log(1 + math.exp(-margin if label else margin))


QUERY = torch.tensor([[[1, 0], [255, 0]]], dtype=torch.uint8)
SUPPORT = torch.tensor([[[[1, 1], [0, 255]], [[0, 255], [255, 255]]]], dtype=torch.uint8)


@pytest.fixture
def prediction():
    return Prediction(
        q1=logits([[[[2.0, -1.0], [9.0, 0.0]], [[1.0, 1.0], [9.0, 3.0]]]]),
        s=logits([[[[1.0, 2.0], [-1.0, 9.0]], [[4.0, 9.0], [9.0, 9.0]]]]),
        q2=logits([[[3.0, -2.0], [9.0, 1.0]]]),
    )


# Three pixels of the query count in each of the two shots, the one labelled 255 does not.
Q1 = (cost(2, 1) + cost(-1, 0) + cost(0, 0) + cost(1, 1) + cost(1, 0) + cost(3, 0)) / 6
# Three pixels of the first support and one of the second: a mean over the pixels of all.
S = (cost(1, 1) + cost(2, 1) + cost(-1, 0) + cost(4, 0)) / 4
Q2 = (cost(3, 1) + cost(-2, 0) + cost(1, 0)) / 3


def test_each_part_is_the_cross_entropy_of_the_pixels_that_are_not_ignored(prediction):
    losses = arnet_loss(prediction, QUERY, SUPPORT)
    assert losses.q1.item() == pytest.approx(Q1, rel=1e-6)
    assert losses.s.item() == pytest.approx(S, rel=1e-6)
    assert losses.q2.item() == pytest.approx(Q2, rel=1e-6)
    assert losses.total.item() == pytest.approx(Q1 + S + Q2, rel=1e-6)
    # Negative control: an ignored pixel that is not ignored costs 9.
    counted = arnet_loss(prediction, QUERY.clamp(max=1) * 0, SUPPORT)
    assert counted.q2.item() > 2


def test_weights_are_those_of_equation_1(prediction):
    losses = arnet_loss(prediction, QUERY, SUPPORT, alpha=2, beta=3, gamma=5)
    assert losses.total.item() == pytest.approx(2 * Q1 + 3 * S + 5 * Q2, rel=1e-6)


def test_an_object_may_outweigh_what_surrounds_it(prediction):
    # One pixel of the object, two around it: it weighs 2 ** balance.
    for balance in (0.5, 1.0):
        heavier = 2**balance
        expected = heavier * cost(3, 1) + cost(-2, 0) + cost(1, 0)
        losses = arnet_loss(prediction, QUERY, SUPPORT, balance=balance)
        assert losses.q2.item() == pytest.approx(expected / (heavier + 2), rel=1e-6)
    # An image without the object, and one of which nothing is known, cost no more than is known.
    nothing = QUERY.clone().fill_(255)
    assert arnet_loss(prediction, nothing, SUPPORT, balance=1).q2 == 0
    absent = arnet_loss(prediction, QUERY * 0, SUPPORT, balance=1).q2
    torch.testing.assert_close(absent, arnet_loss(prediction, QUERY * 0, SUPPORT).q2)


def test_more_shots_do_not_outweigh_the_final_mask(prediction):
    """Eq. 2 sums over the k supports; here the mean, so two equal shots cost as much as one."""
    one = Prediction(prediction.q1[:, :1], prediction.s[:, :1], prediction.q2)
    two = Prediction(one.q1.repeat(1, 2, 1, 1, 1), one.s.repeat(1, 2, 1, 1, 1), one.q2)
    torch.testing.assert_close(
        arnet_loss(one, QUERY, SUPPORT[:, :1]).total,
        arnet_loss(two, QUERY, SUPPORT[:, :1].repeat(1, 2, 1, 1)).total,
    )


def test_parts_that_are_left_out_cost_nothing(prediction):
    losses = arnet_loss(Prediction(None, None, prediction.q2), QUERY, SUPPORT)
    assert losses.q1 is None and losses.s is None
    assert losses.total.item() == pytest.approx(Q2, rel=1e-6)


def test_logits_are_upsampled_to_the_labels():
    small = Prediction(None, None, logits([[[5.0]]]))
    labels = torch.ones(1, 4, 4, dtype=torch.uint8)
    assert arnet_loss(small, labels, labels[:, None]).q2.item() == pytest.approx(cost(5, 1))


def test_labels_are_the_true_masks_of_each_support(prediction):
    swapped = arnet_loss(prediction, QUERY, SUPPORT.flip(1))
    assert swapped.s.item() != pytest.approx(S, rel=1e-3)
