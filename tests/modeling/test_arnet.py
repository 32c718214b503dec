"""What the parts of the network are given and what becomes of it."""

import pytest
import torch

from arnet.modeling import ARNet
from arnet.modeling.arnet import _union
from arnet.modeling.layers import masked_pool
from arnet.runtime.errors import ConfigError


@pytest.fixture
def seen_by(predict):
    """The arguments of each call of a part of the network."""

    def seen_by(module, model, inputs):
        seen = []
        handle = module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
        predict(model, inputs)
        handle.remove()
        return seen

    return seen_by


def test_mpm2_is_guided_by_the_query_and_q1(make_model, make_inputs, predict, seen_by):
    model, inputs = make_model(), make_inputs(2)
    ((target, guide, mask),) = seen_by(model.mpm[1], model, inputs)
    state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
    query = model.reduction(inputs["query"])
    torch.testing.assert_close(target, state.features.flatten(0, 1))
    torch.testing.assert_close(guide, query.repeat_interleave(2, dim=0))
    q1 = predict(model, inputs).q1.softmax(dim=2)[:, :, 1:].flatten(0, 1)
    torch.testing.assert_close(mask, q1)


def test_hard_masks_are_zero_or_one(make_model, make_inputs, seen_by):
    inputs = make_inputs(2)
    for choice, hard in (("hard", True), ("soft", False)):
        model = make_model(f"mask={choice}")
        ((_, _, mask),) = seen_by(model.mpm[1], model, inputs)
        assert bool(((mask == 0) | ((mask - 1).abs() < 1e-6)).all()) == hard


def test_hard_masks_of_a_tie_are_background(make_model):
    """A tie is no object, as a margin of zero is none in the evaluation."""
    model = make_model("mask=hard")
    maps = model._mask_of(torch.zeros(1, 2, 3, 3), like=torch.zeros(1, 1, 3, 3))
    assert torch.equal(maps[0, 1], torch.zeros(3, 3))
    assert torch.equal(maps.sum(dim=1), torch.ones(1, 3, 3))


def test_mrm_takes_the_pairs_of_masks_and_the_vector(make_model, make_inputs, predict, seen_by):
    inputs = make_inputs(2)
    for overrides in ((), ("pairing=concatenate", "pairing_shots=2")):
        model = make_model(*overrides)
        ((_, vector, masks, _),) = seen_by(model.mrm, model, inputs)
        prediction = predict(model, inputs)
        q1, s = prediction.q1.softmax(dim=2), prediction.s.softmax(dim=2)
        if overrides:
            expected = torch.cat([q1[:, 0], s[:, 0], q1[:, 1], s[:, 1]], dim=1)
        else:
            expected = torch.cat([q1.mean(dim=1), s.mean(dim=1)], dim=1)
        torch.testing.assert_close(masks, expected)
        state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
        torch.testing.assert_close(vector, model.cmm(state.vectors))


def test_refine_vector_predicted_pools_with_s(make_model, make_inputs, predict, seen_by):
    model, inputs = make_model("refine_vector=predicted"), make_inputs(1)
    ((_, vector, _, _),) = seen_by(model.mrm, model, inputs)
    state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
    s = predict(model, inputs).s.softmax(dim=2)[:, 0, 1:]
    torch.testing.assert_close(vector, masked_pool(state.features[:, 0], s))
    assert not torch.allclose(vector, state.vectors[:, 0], atol=1e-3)


def test_left_out_masks_are_one_half(make_model, make_inputs, seen_by):
    model = make_model("without=[mpm1, mpm2]")
    ((_, _, masks, _),) = seen_by(model.mrm, model, make_inputs(1))
    assert (masks == 0.5).all()


def test_without_mrm_the_result_is_the_mean_of_q1(make_model, make_inputs, predict):
    prediction = predict(make_model("without=[mrm]"), make_inputs(2))
    torch.testing.assert_close(prediction.q2, prediction.q1.mean(dim=1))


def test_concatenated_pairs_need_their_number_of_supports(make_model, make_inputs, predict):
    model = make_model("pairing=concatenate", "pairing_shots=2")
    with pytest.raises(ConfigError, match="exactly 2 supports, not 3"):
        predict(model, make_inputs(3))


def test_shared_mpm_is_one(make_model):
    assert len(make_model("share_mpm=true").mpm) == 1
    assert len(make_model().mpm) == 2


def test_each_support_is_matched_for_itself(make_model, make_inputs, predict):
    """The masks q1 and s of a support are the same beside others as alone."""
    inputs = make_inputs(1)
    model = make_model()
    one = predict(model, inputs)
    twice = inputs | {
        name: inputs[name].repeat_interleave(2, dim=1) for name in ("support", "support_labels")
    }
    two = predict(model, twice)
    for shot in range(2):
        torch.testing.assert_close(two.q1[:, shot], one.q1[:, 0])
        torch.testing.assert_close(two.s[:, shot], one.s[:, 0])


@pytest.mark.parametrize("fusion", ["cmm", "attention", "mask", "mean"])
def test_one_shot_is_the_same_whatever_the_fusion(make_model, fusion, make_inputs, predict):
    """With one support the k-shot path is the 1-shot model: MPM1, MPM2, MRM, nothing else."""
    model, inputs = make_model(f"fusion={fusion}"), make_inputs(1)
    query, support = model.reduction(inputs["query"]), model.reduction(inputs["support"][:, 0])
    state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
    mask = state.masks[:, 0]
    q1 = model.mpm[0](query, support, mask)
    s = model.mpm[1](support, query, q1.softmax(dim=1)[:, 1:])
    maps = torch.cat([q1.softmax(dim=1), s.softmax(dim=1)], dim=1)
    q2 = model.mrm(query, masked_pool(support, mask), maps)
    prediction = predict(model, inputs)
    torch.testing.assert_close(prediction.q1[:, 0], q1)
    torch.testing.assert_close(prediction.s[:, 0], s)
    torch.testing.assert_close(prediction.q2, q2)


def test_the_mean_fusion_refines_with_the_mean_of_the_vectors(make_model, make_inputs, predict):
    model, inputs = make_model("fusion=mean"), make_inputs(3)
    assert model.cmm is None and model.shot_attention is None
    given = []
    model.mrm.register_forward_pre_hook(lambda module, args: given.append(args[1]))
    predict(model, inputs)
    labels = (inputs["support_labels"] == 1).float()
    vectors = model.encode_features(inputs["support"], labels).vectors
    torch.testing.assert_close(given[0], vectors.mean(dim=1))
    assert not torch.allclose(given[0], vectors[:, -1])


def test_union_is_the_or_of_the_masks():
    logits = torch.randn(2, 3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    masks = logits[:, :, 1] > logits[:, :, 0]
    union = _union(logits)
    found = union[:, 1] > union[:, 0]
    assert torch.equal(found, masks.any(dim=1))
    assert not torch.equal(found, masks.all(dim=1))
    torch.testing.assert_close(_union(logits[:, :1]), logits[:, 0])


def test_the_support_decides_the_mask(make_model, make_inputs, predict):
    model, inputs = make_model(), make_inputs(1)
    other = inputs | {"support_labels": inputs["support_labels"].flip(-1, -2)}
    assert not torch.allclose(predict(model, inputs).q2, predict(model, other).q2)


def test_every_parameter_belongs_to_a_named_part():
    from arnet.config import ModelConfig

    model = ARNet(ModelConfig())
    counts = {n: sum(p.numel() for p in part.parameters()) for n, part in model.named_children()}
    assert counts["reduction"] == 1536 * 256 + 256
    # Eq. 4, twice: 768 -> 256 -> 256 -> 2 of 3x3.
    assert counts["mpm"] == 2 * (768 * 256 * 9 + 256 + 256 * 256 * 9 + 256 + 256 * 2 * 9 + 2)
    # Eq. 8: three blocks of three causal convolutions of kernel 2.
    assert counts["cmm"] == 3 * 3 * (256 * 256 * 2 + 256)
    assert set(counts) == {"backbone", "reduction", "mpm", "mrm", "cmm"}
