import pytest
import torch

from arnet.modeling import ARNet, SupportState, arnet_loss
from arnet.modeling.arnet import _union
from arnet.modeling.layers import masked_pool
from arnet.runtime.errors import ConfigError

CHANNELS, CELLS, SIDE = 384, 5, 33


def make_inputs(shots=2, batch=2, channels=CHANNELS):
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


def predict(model, inputs):
    return model(inputs["query"], inputs["support"], (inputs["support_labels"] == 1).float())


def train_once(model, inputs):
    losses = arnet_loss(predict(model, inputs), inputs["query_labels"], inputs["support_labels"])
    losses.total.backward()
    return losses


def with_weights(model):
    """The parts of a model that have weights to train."""
    return {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}


def with_gradient(model):
    """The parts of a model in which some weight has a gradient."""
    return {
        n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()
    }


ALTERNATIVES = {
    "default": ((), set()),
    "reduce": (("reduce=false",), set()),
    "pooling": (("pooling=map",), set()),
    "masked_features": (("masked_features=false",), set()),
    "share_mpm": (("share_mpm=true",), set()),
    "mask": (("mask=hard", "detach_mask=false"), set()),
    "detach_mask": (("detach_mask=false",), set()),
    "refine_vector": (("refine_vector=predicted",), set()),
    "pairing": (("pairing=concatenate",), set()),
    "attention": (("fusion=attention",), set()),
    "union": (("fusion=mask",), set()),
    "norm": (("norm=batch",), set()),
    "dropout": (("dropout=0.3",), set()),
    "stride": (("backbone.output_stride=16",), set()),
    "cmm": (("cmm_kernel=3", "cmm_dilations=[1]"), set()),
    "no cmm block": (("cmm_dilations=[]",), set()),
    "cbam": (("cbam_kernel=3", "cbam_reduction=1"), set()),
    "mpm1": (("without=[mpm1]",), set()),
    "mpm2": (("without=[mpm2]",), set()),
    "mpm1 and mpm2": (("without=[mpm1, mpm2]",), {"mpm"}),
    "mrm": (("without=[mrm]",), {"mrm", "cmm"}),
    "mpm2 and mrm": (("without=[mpm2, mrm]",), {"mrm", "cmm"}),
}


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("name", ALTERNATIVES)
def test_every_alternative_trains(make_model, name, shots):
    overrides, untrained = ALTERNATIVES[name]
    if name == "pairing":
        overrides = ("pairing=concatenate", f"pairing_shots={shots}")
    model = make_model(*overrides).train()
    inputs = make_inputs(shots)
    prediction = predict(model, inputs)
    left_out = model.config.without
    first = None if "mpm1" in left_out else (2, shots, 2, CELLS, CELLS)
    second = None if "mpm2" in left_out else (2, shots, 2, CELLS, CELLS)
    assert (None if prediction.q1 is None else prediction.q1.shape) == first
    assert (None if prediction.s is None else prediction.s.shape) == second
    assert prediction.q2.shape == (2, 2, CELLS, CELLS)
    if shots == 1:  # one vector needs no fusion
        untrained = untrained | (with_weights(model) & {"cmm", "shot_attention"})
    losses = train_once(model, inputs)
    assert losses.total.isfinite()
    assert with_gradient(model) == with_weights(model) - untrained
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=0.01)
    optimizer.step()
    if name != "dropout":
        again = arnet_loss(predict(model, inputs), inputs["query_labels"], inputs["support_labels"])
        assert again.total < losses.total


def test_an_alternative_is_another_function(make_model):
    """Negative control: the same weights under another field give another mask."""
    inputs = make_inputs(2)
    plain = predict(make_model(), inputs)
    for field in (
        "pooling=map", "mask=hard", "refine_vector=predicted", "share_mpm=true", "without=[mpm1]",
        "without=[mpm2]", "without=[mrm]", "fusion=mask",
    ):  # fmt: skip
        model = make_model()
        other = make_model(field)
        weights = {k: v for k, v in model.state_dict().items() if k in other.state_dict()}
        other.load_state_dict(weights)
        assert not torch.allclose(predict(other, inputs).q2, plain.q2, 1e-3, 1e-6), field
    assert torch.equal(predict(make_model("dropout=0"), inputs).q2, plain.q2)


def test_gradients_reach_no_frozen_part(make_model):
    model = make_model().train()
    images = torch.randn(1, 3, SIDE, SIDE)
    features = model.backbone(images)
    inputs = make_inputs(1, 1) | {"query": features, "support": features[:, None]}
    train_once(model, inputs)
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(not p.requires_grad for p in model.backbone.parameters())
    trained = [n for n, p in model.named_parameters() if p.grad is not None]
    assert {n.split(".")[0] for n in trained} == {"reduction", "mpm", "mrm"}


def test_running_statistics_of_the_backbone_do_not_move(make_model):
    model = make_model("norm=batch").train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    features = model.backbone(torch.randn(2, 3, SIDE, SIDE) + 2)
    inputs = make_inputs(1) | {"query": features, "support": features[:, None]}
    predict(model, inputs)
    moved = {k.split(".")[0] for k, v in model.state_dict().items()
             if k in before and not torch.equal(v, before[k])}  # fmt: skip
    assert moved == {"mpm", "mrm"}, "those of the trained parts do move"


def gradient_of_mpm1(model, of):
    prediction = predict(model, make_inputs(2))
    model.zero_grad()
    getattr(prediction, of).square().sum().backward()
    gradients = [p.grad for p in model.mpm[0].parameters()]
    return any(g is not None and g.any() for g in gradients)


@pytest.mark.parametrize("of", ["s", "q2"])
def test_gradients_flow_through_the_masks_unless_detached(make_model, of):
    assert gradient_of_mpm1(make_model("detach_mask=false"), of)
    assert gradient_of_mpm1(make_model("detach_mask=false", "mask=hard"), of), "of the softmax"
    assert not gradient_of_mpm1(make_model("detach_mask=true"), of)


def seen_by(module, model, inputs):
    """The arguments of each call of a part of the network."""
    seen = []
    handle = module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    predict(model, inputs)
    handle.remove()
    return seen


def test_mpm2_is_guided_by_the_query_and_q1(make_model):
    model, inputs = make_model(), make_inputs(2)
    ((target, guide, mask),) = seen_by(model.mpm[1], model, inputs)
    state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
    query = model.reduction(inputs["query"])
    torch.testing.assert_close(target, state.features.flatten(0, 1))
    torch.testing.assert_close(guide, query.repeat_interleave(2, dim=0))
    q1 = predict(model, inputs).q1.softmax(dim=2)[:, :, 1:].flatten(0, 1)
    torch.testing.assert_close(mask, q1)


def test_hard_masks_are_zero_or_one(make_model):
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


def test_mrm_takes_the_pairs_of_masks_and_the_vector(make_model):
    inputs = make_inputs(2)
    for overrides in ((), ("pairing=concatenate", "pairing_shots=2")):
        model = make_model(*overrides)
        ((_, vector, masks),) = seen_by(model.mrm, model, inputs)
        prediction = predict(model, inputs)
        q1, s = prediction.q1.softmax(dim=2), prediction.s.softmax(dim=2)
        if overrides:
            expected = torch.cat([q1[:, 0], s[:, 0], q1[:, 1], s[:, 1]], dim=1)
        else:
            expected = torch.cat([q1.mean(dim=1), s.mean(dim=1)], dim=1)
        torch.testing.assert_close(masks, expected)
        state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
        torch.testing.assert_close(vector, model.cmm(state.vectors))


def test_refine_vector_predicted_pools_with_s(make_model):
    model, inputs = make_model("refine_vector=predicted"), make_inputs(1)
    ((_, vector, _),) = seen_by(model.mrm, model, inputs)
    state = model.encode_features(inputs["support"], (inputs["support_labels"] == 1).float())
    s = predict(model, inputs).s.softmax(dim=2)[:, 0, 1:]
    torch.testing.assert_close(vector, masked_pool(state.features[:, 0], s))
    assert not torch.allclose(vector, state.vectors[:, 0], atol=1e-3)


def test_left_out_masks_are_one_half(make_model):
    model = make_model("without=[mpm1, mpm2]")
    ((_, _, masks),) = seen_by(model.mrm, model, make_inputs(1))
    assert (masks == 0.5).all()


def test_without_mrm_the_result_is_the_mean_of_q1(make_model):
    prediction = predict(make_model("without=[mrm]"), make_inputs(2))
    torch.testing.assert_close(prediction.q2, prediction.q1.mean(dim=1))


def test_concatenated_pairs_need_their_number_of_supports(make_model):
    model = make_model("pairing=concatenate", "pairing_shots=2")
    with pytest.raises(ConfigError, match="exactly 2 supports, not 3"):
        predict(model, make_inputs(3))


def test_shared_mpm_is_one(make_model):
    assert len(make_model("share_mpm=true").mpm) == 1
    assert len(make_model().mpm) == 2


def test_each_support_is_matched_for_itself(make_model):
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


@pytest.mark.parametrize("fusion", ["cmm", "attention", "mask"])
def test_one_shot_is_the_same_whatever_the_fusion(make_model, fusion):
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


def test_union_is_the_or_of_the_masks():
    logits = torch.randn(2, 3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    masks = logits[:, :, 1] > logits[:, :, 0]
    union = _union(logits)
    found = union[:, 1] > union[:, 0]
    assert torch.equal(found, masks.any(dim=1))
    assert not torch.equal(found, masks.all(dim=1))
    torch.testing.assert_close(_union(logits[:, :1]), logits[:, 0])


@pytest.fixture
def photographs():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, SIDE, SIDE, generator=generator)
    masks = torch.zeros(3, SIDE, SIDE)
    masks[0, 4:20, 4:20] = masks[1, 10:30, 2:15] = masks[2, 3:9, 20:33] = 1
    return images, masks


@pytest.mark.parametrize("fusion", ["cmm", "attention", "mask"])
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
        assert isinstance(state, SupportState)
        found = model.segment(query, {"": state})[""]
        features = model(model.backbone(query), model.backbone(images)[None], masks[None])
        torch.testing.assert_close(found.q2, features.q2)


@pytest.mark.parametrize("pooling", ["area", "map"])
@pytest.mark.parametrize("mask", ["soft", "hard"])
@pytest.mark.parametrize("refine", ["annotation", "predicted"])
def test_an_empty_first_mask_gives_finite_numbers(make_model, pooling, mask, refine):
    model = make_model(f"pooling={pooling}", f"mask={mask}", f"refine_vector={refine}")
    with torch.no_grad():
        for mpm in model.mpm:
            mpm.conv3.weight.zero_()
            mpm.conv3.bias.copy_(torch.tensor([200.0, -200.0]))
    inputs = make_inputs(2)
    assert not predict(model, inputs).q1.softmax(dim=2)[:, :, 1].any(), "it is empty"
    losses = train_once(model, inputs)
    assert losses.q2.isfinite() and losses.total.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_an_empty_support_mask_gives_finite_numbers(make_model):
    inputs = make_inputs(2)
    inputs["support_labels"].zero_()
    assert train_once(make_model(), inputs).total.isfinite()


def test_the_support_decides_the_mask(make_model):
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
