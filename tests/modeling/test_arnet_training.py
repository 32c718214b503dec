"""Every alternative of the network trains, and gradients go where they should."""

import pytest
import torch

from arnet.modeling import arnet_loss

CELLS, SIDE = 5, 33


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
    "cbam on the branch": (("cbam=residual", "cbam_reduction=1"), set()),
    "no cbam": (("cbam=none",), set()),
    "mpm1": (("without=[mpm1]",), set()),
    "mpm2": (("without=[mpm2]",), set()),
    "mpm1 and mpm2": (("without=[mpm1, mpm2]",), {"mpm"}),
    "mrm": (("without=[mrm]",), {"mrm", "cmm"}),
    "mpm2 and mrm": (("without=[mpm2, mrm]",), {"mrm", "cmm"}),
}


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("name", ALTERNATIVES)
def test_every_alternative_trains(make_model, name, shots, make_inputs, predict, train_once):
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


def test_an_alternative_is_another_function(make_model, make_inputs, predict):
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


def test_gradients_reach_no_frozen_part(make_model, make_inputs, train_once):
    model = make_model().train()
    images = torch.randn(1, 3, SIDE, SIDE)
    features = model.backbone(images)
    inputs = make_inputs(1, 1) | {"query": features, "support": features[:, None]}
    train_once(model, inputs)
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(not p.requires_grad for p in model.backbone.parameters())
    trained = [n for n, p in model.named_parameters() if p.grad is not None]
    assert {n.split(".")[0] for n in trained} == {"reduction", "mpm", "mrm"}


def test_running_statistics_of_the_backbone_do_not_move(make_model, make_inputs, predict):
    model = make_model("norm=batch").train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    features = model.backbone(torch.randn(2, 3, SIDE, SIDE) + 2)
    inputs = make_inputs(1) | {"query": features, "support": features[:, None]}
    predict(model, inputs)
    moved = {k.split(".")[0] for k, v in model.state_dict().items()
             if k in before and not torch.equal(v, before[k])}  # fmt: skip
    assert moved == {"mpm", "mrm"}, "those of the trained parts do move"


@pytest.mark.parametrize("of", ["s", "q2"])
def test_gradients_flow_through_the_masks_unless_detached(make_model, of, make_inputs, predict):
    def reaches_mpm1(model):
        getattr(predict(model, make_inputs(2)), of).square().sum().backward()
        gradients = [p.grad for p in model.mpm[0].parameters()]
        return any(g is not None and g.any() for g in gradients)

    assert reaches_mpm1(make_model("detach_mask=false"))
    assert reaches_mpm1(make_model("detach_mask=false", "mask=hard")), "of the softmax"
    assert not reaches_mpm1(make_model("detach_mask=true"))


@pytest.mark.parametrize("pooling", ["area", "map"])
@pytest.mark.parametrize("mask", ["soft", "hard"])
@pytest.mark.parametrize("refine", ["annotation", "predicted"])
def test_an_empty_first_mask_gives_finite_numbers(
    make_model, pooling, mask, refine, make_inputs, predict, train_once
):
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


def test_an_empty_support_mask_gives_finite_numbers(make_model, make_inputs, train_once):
    inputs = make_inputs(2)
    inputs["support_labels"].zero_()
    assert train_once(make_model(), inputs).total.isfinite()
