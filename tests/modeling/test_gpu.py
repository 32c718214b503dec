"""The model on a real GPU."""

from __future__ import annotations

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


def test_a_gpu_predicts_what_the_processor_does(make_model) -> None:
    model = make_model()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 65, 65, generator=generator)
    masks = (torch.rand(2, 65, 65, generator=generator) > 0.6).float()

    def predict() -> torch.Tensor:
        device = next(model.parameters()).device
        state = model.encode_support(images[1:].to(device), masks.to(device))
        return model.segment(images[:1].to(device), {"it": state})["it"].q2.cpu()

    with torch.inference_mode():
        expected = predict()
        model.cuda()
        torch.testing.assert_close(predict(), expected, rtol=1e-3, atol=1e-3)
