"""The algebra: parts, taps, sums at the border and folded normalisations are the convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from arnet.export import folding


@pytest.fixture(autouse=True)
def same_chance():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def convolution(inputs=6, outputs=4, kernel=3, **options) -> nn.Conv2d:
    options = {"padding": kernel // 2, **options}
    return nn.Conv2d(inputs, outputs, kernel, dtype=torch.float64, **options)


def maps(channels=6, height=5, width=7) -> torch.Tensor:
    return torch.randn(2, channels, height, width, dtype=torch.float64)


def close(found, expected) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=1e-12)


def normalised(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).double().eval()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.1, 2)
    return norm


def test_normalisations_are_folded_wherever_they_are() -> None:
    inner = nn.Sequential(convolution(4, 4, bias=False), normalised(4), nn.ReLU(), nn.Identity())
    model = nn.Sequential(convolution(), normalised(4), nn.ReLU(), inner, convolution(4, 2)).eval()
    x = maps()
    expected = model(x)
    folding.fold_batch_norms(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert close(model(x), expected)


def test_a_normalisation_without_its_convolution_is_not_passed_over() -> None:
    with pytest.raises(AssertionError):
        folding.fold_batch_norms(nn.Sequential(nn.ReLU(), normalised(6)))


def test_a_convolution_is_the_sum_of_its_parts() -> None:
    whole, x = convolution(), maps()
    first, second = folding.part(whole, 0, 2), folding.part(whole, 2, 6, bias=True)
    assert first.bias is None
    assert close(first(x[:, :2]) + second(x[:, 2:]), whole(x))
    assert not close(first(x[:, :2]), whole(x))


def test_convolutions_are_stacked() -> None:
    convolutions, x = [convolution(outputs=n, bias=False) for n in (1, 4, 2)], maps()
    assert close(folding.stacked(convolutions)(x), torch.cat([c(x) for c in convolutions], dim=1))


def test_the_sigmoid_of_the_margin_is_the_softmax_of_the_logits() -> None:
    logits, x = convolution(outputs=2), maps()
    margin = folding.margin(logits)
    assert margin(x).shape == (2, 1, 5, 7)
    assert close(margin(x).sigmoid(), logits(x).softmax(dim=1)[:, 1:])
    assert not close((-margin(x)).sigmoid(), logits(x).softmax(dim=1)[:, 1:])


def test_a_convolution_is_the_sum_of_its_shifted_taps() -> None:
    whole, x = convolution(bias=False), maps()

    def shifted(order) -> torch.Tensor:
        products = F.pad(folding.taps(whole)(x), (1, 1, 1, 1)).unflatten(1, (9, 4))
        return sum(
            products[:, tap, :, y : y + 5, x : x + 7]
            for tap, (y, x) in zip(order, [(y, x) for y in range(3) for x in range(3)], strict=True)
        )

    assert close(shifted(range(9)), whole(x))
    assert not close(shifted([0, 3, 6, 1, 4, 7, 2, 5, 8]), whole(x))


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (3, 3), (5, 7), (9, 4)], ids=str)
def test_a_tiled_vector_has_nine_values(size) -> None:
    whole, vector = convolution(bias=False), torch.randn(6, dtype=torch.float64)
    expected = whole(vector.view(1, -1, 1, 1).expand(-1, -1, *size))
    values, places = folding.border_sums(whole) @ vector, folding.border_places(*size)
    assert places.sum(dim=0).eq(1).all()  # each place is of one kind
    assert close((values.T @ places).view(1, 4, *size), expected)
    transposed = values.unflatten(0, (3, 3)).transpose(0, 1).flatten(0, 1)
    assert not close((transposed.T @ places).view(1, 4, *size), expected)
