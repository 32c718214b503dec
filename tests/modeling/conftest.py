"""Features, labels and photographs for the whole network."""

import pytest
import torch

from arnet.modeling import arnet_loss

CHANNELS, CELLS, SIDE = 384, 5, 33


@pytest.fixture
def make_inputs():
    """Features of a query and of its supports, 5x5 cells, with labels of 33x33 pixels."""

    def make(shots=2, batch=2, channels=CHANNELS):
        generator = torch.Generator().manual_seed(shots)
        support_labels = torch.zeros(batch, shots, SIDE, SIDE, dtype=torch.uint8)
        support_labels[..., 4:20, 6:24] = 1
        query_labels = torch.zeros(batch, SIDE, SIDE, dtype=torch.uint8)
        query_labels[:, 8:30, 2:14] = 1
        query_labels[:, 8] = 255
        return {
            "query": torch.rand(batch, channels, CELLS, CELLS, generator=generator),
            "support": torch.rand(batch, shots, channels, CELLS, CELLS, generator=generator),
            "query_labels": query_labels,
            "support_labels": support_labels,
        }

    return make


@pytest.fixture
def predict():
    """The network's prediction for such inputs."""

    def predict(model, inputs):
        masks = (inputs["support_labels"] == 1).float()
        return model(inputs["query"], inputs["support"], masks)

    return predict


@pytest.fixture
def train_once(predict):
    """One step backwards; returns the losses."""

    def train_once(model, inputs):
        prediction = predict(model, inputs)
        losses = arnet_loss(prediction, inputs["query_labels"], inputs["support_labels"])
        losses.total.backward()
        return losses

    return train_once
