"""Supports learned one by one, several classes, and photographs instead of features."""

import pytest
import torch

from arnet.modeling import SupportFeatures

SIDE = 33


@pytest.fixture
def photographs():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, SIDE, SIDE, generator=generator)
    masks = torch.zeros(3, SIDE, SIDE)
    masks[0, 4:20, 4:20] = masks[1, 10:30, 2:15] = masks[2, 3:9, 20:33] = 1
    return images, masks


@pytest.mark.parametrize("fusion", ["cmm", "attention", "mask", "mean"])
def test_supports_one_by_one_are_supports_together(make_model, photographs, fusion):
    model = make_model(f"fusion={fusion}").eval()
    images, masks = photographs
    with torch.no_grad():
        together = model.encode_support(images, masks)
        added = model.encode_support(images[:1], masks[:1])
        for shot in range(1, 3):
            added = added.add(model.encode_support(images[shot][None], masks[shot][None]))
        assert added.shots == together.shots == 3
        for name in vars(together):
            torch.testing.assert_close(getattr(added, name), getattr(together, name))
        query = torch.randn(1, 3, SIDE, SIDE)
        found = model.segment(query, {"together": together, "added": added})
        torch.testing.assert_close(found["added"].q2, found["together"].q2)
        fewer = model.encode_support(images[:2], masks[:2])
        assert not torch.allclose(model.segment(query, {"": fewer})[""].q2, found["added"].q2)


def test_several_classes_are_as_one_at_a_time_for_one_pass_of_the_backbone(make_model, photographs):
    model = make_model().eval()
    images, masks = photographs
    query = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        states = {
            "one": model.encode_support(images[:1], masks[:1]),
            "two": model.encode_support(images[1:], masks[1:]),
        }
        calls = []
        handle = model.backbone.register_forward_hook(lambda *_: calls.append(1))
        together = model.segment(query, states)
        handle.remove()
        assert len(calls) == 1
        assert list(together) == ["one", "two"]
        for name, state in states.items():
            alone = model.segment(query, {name: state})[name]
            assert torch.equal(together[name].q1, alone.q1)
            assert torch.equal(together[name].s, alone.s)
            assert torch.equal(together[name].q2, alone.q2)
        assert not torch.allclose(together["one"].q2, together["two"].q2)


def test_segment_is_forward_from_the_features(make_model, photographs):
    model = make_model().eval()
    images, masks = photographs
    query = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        state = model.encode_support(images, masks)
        assert isinstance(state, SupportFeatures)
        found = model.segment(query, {"": state})[""]
        features = model(model.backbone(query), model.backbone(images)[None], masks[None])
        torch.testing.assert_close(found.q2, features.q2)
