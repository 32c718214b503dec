import pytest
import torch

from arnet.modeling.attention import ShotAttention


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return {
        "query": torch.randn(2, 4, 6, 6),
        "support": torch.randn(2, 3, 4, 6, 6),
        "masks": torch.rand(2, 3, 1, 6, 6),
        "vectors": torch.randn(2, 3, 4),
    }


def pick(inputs, shots):
    return {name: x if name == "query" else x[:, shots] for name, x in inputs.items()}


def test_weights_are_a_softmax_over_the_shots(inputs):
    """By hand: scores 0, ln 2 and ln 3 weigh the vectors by 1/6, 2/6 and 3/6."""
    attention = ShotAttention(4, 8)
    attention.conv2 = torch.nn.Identity()
    scores = torch.tensor([1.0, 2.0, 3.0]).log().repeat(2)
    attention.conv2.forward = lambda x: scores.view(6, 1, 1, 1).expand(-1, 1, 2, 2)
    vectors = inputs["vectors"]
    expected = (vectors[:, 0] + 2 * vectors[:, 1] + 3 * vectors[:, 2]) / 6
    torch.testing.assert_close(attention(**inputs), expected)
    assert not torch.allclose(attention(**inputs), vectors.mean(dim=1))


def test_order_of_the_shots_does_not_matter(inputs):
    attention = ShotAttention(4, 8)
    torch.testing.assert_close(attention(**inputs), attention(**pick(inputs, [2, 0, 1])))
    assert not torch.allclose(attention(**inputs), attention(**pick(inputs, [0, 1])))


def test_one_shot_passes_unchanged(inputs):
    assert torch.equal(ShotAttention(4, 8)(**pick(inputs, [1])), inputs["vectors"][:, 1])


@pytest.mark.parametrize("what", ["query", "support", "masks"])
def test_the_weights_depend_on_query_and_support(inputs, what):
    attention = ShotAttention(4, 8)
    before = attention(**inputs)
    if what == "query":
        inputs["query"] = inputs["query"].flip(1) * 3
    else:
        inputs[what][:, 0] = inputs[what][:, 0].flip(-1) * 3
    assert not torch.allclose(attention(**inputs), before)
