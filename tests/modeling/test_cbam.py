import numpy as np
import torch

from arnet.modeling.cbam import CBAM


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(cbam, x):
    """CBAM of one map (C, h, w), with loops: channels first, then places."""
    first, second = cbam.channel[0], cbam.channel[2]

    def shared(v):
        hidden = first.weight.detach().numpy()[:, :, 0, 0] @ v + first.bias.detach().numpy()
        hidden = np.maximum(hidden, 0)
        return second.weight.detach().numpy()[:, :, 0, 0] @ hidden + second.bias.detach().numpy()

    gate = sigmoid(shared(x.mean(axis=(1, 2))) + shared(x.max(axis=(1, 2))))
    x = x * gate[:, None, None]
    summary = np.stack([x.mean(axis=0), x.max(axis=0)])
    weight = cbam.place.weight.detach().numpy()[0]
    half = weight.shape[-1] // 2
    padded = np.pad(summary, ((0, 0), (half, half), (half, half)))
    place = np.zeros(x.shape[1:])
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            window = padded[:, row : row + 2 * half + 1, column : column + 2 * half + 1]
            place[row, column] = (window * weight).sum()
    return x * sigmoid(place)


def test_channels_are_weighed_then_places():
    torch.manual_seed(0)
    cbam = CBAM(6, reduction=2, kernel=3)
    x = torch.randn(2, 6, 4, 5)
    with torch.no_grad():
        found = cbam(x).numpy()
    for n in range(2):
        np.testing.assert_allclose(found[n], reference(cbam, x[n].numpy()), atol=1e-6)
    with torch.no_grad():
        cbam.place.weight.copy_(cbam.place.weight.flip(1))
    assert abs(found[0] - reference(cbam, x[0].numpy())).max() > 1e-3, "mean and maximum swapped"


def test_default_is_that_of_its_paper():
    cbam = CBAM(64)
    assert cbam.channel[0].out_channels == 4
    assert cbam.place.kernel_size == (7, 7)


def test_fewer_channels_than_the_reduction():
    assert CBAM(4, reduction=16)(torch.randn(1, 4, 3, 3)).shape == (1, 4, 3, 3)
