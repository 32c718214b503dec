import numpy as np
import pytest
import torch

from arnet.config import AugmentConfig
from arnet.data.episodes import Episode, EvaluationEpisodes
from arnet.evaluation.encoder import Encoder
from arnet.evaluation.evaluator import evaluate
from arnet.evaluation.predictors import (
    ARNetPredictor,
    OriginalSizePredictor,
    PriorAlone,
    PrototypeBaseline,
)
from arnet.evaluation.reading import Reader
from arnet.inputs import FeatureCache, ImageInput
from arnet.modeling import Prediction
from arnet.modeling.margins import margins_of, upsample
from arnet.runtime.errors import ConfigError

EPISODE = Episode(1, "p0", ("p2", "p4"))


@pytest.fixture
def source(painted):
    return ImageInput(painted, 65, AugmentConfig())


def predict(*arguments):
    return ARNetPredictor(Encoder(*arguments))


def test_boxes_change_the_answer_but_not_the_truth(make_model, source):
    predictor = predict(make_model(), source)
    by_mask, by_box = predictor(EPISODE, "mask"), predictor(EPISODE, "box")
    assert not torch.allclose(by_mask.q1, by_box.q1)
    assert torch.equal(by_mask.support_labels, by_box.support_labels)
    assert torch.equal(by_mask.q2, predictor(EPISODE, "mask").q2)


def test_margins_are_foreground_minus_background():
    q1 = torch.tensor([[[1.0, 4.0]], [[3.0, 8.0]]]).view(1, 2, 2, 1, 1).expand(1, 2, 2, 1, 1)
    margins = margins_of(Prediction(q1, q1 * 2, torch.tensor([5.0, 3.0]).view(1, 2, 1, 1)))
    assert margins.q2.item() == -2
    assert margins.q1.item() == (3 + 5) / 2  # the mean over the supports
    assert margins.s.flatten().tolist() == [6, 10]
    none = margins_of(Prediction(None, None, torch.zeros(1, 2, 1, 1)))
    assert none.q1 is None and none.s is None


def test_the_answer_is_that_of_the_model(make_model, source):
    model = make_model()
    margins = predict(model, source)(EPISODE, "mask")
    with torch.no_grad():
        read = [source.read(name) for name in (EPISODE.query, *EPISODE.supports)]
        images = torch.stack([image for image, _ in read])
        masks = torch.stack([torch.from_numpy(mask == 1).float() for _, mask in read[1:]])
        state = model.encode_support(images[1:], masks)
        expected = margins_of(model.segment(images[:1], {"": state})[""])
    torch.testing.assert_close(margins.q2, expected.q2)
    torch.testing.assert_close(margins.s, expected.s)
    assert margins.s.shape == (2, 9, 9)


def test_a_model_in_training_mode_is_evaluated_without_dropout(make_model, source):
    model = make_model("dropout=0.9").train()
    predictor = predict(model, source)
    assert torch.equal(predictor(EPISODE, "mask").q2, predictor(EPISODE, "mask").q2)
    assert not model.training


def test_lower_precision_answers_nearly_the_same(make_model, source):
    exact = predict(make_model(), source)(EPISODE, "mask").q1
    rough = predict(make_model(), source, torch.bfloat16)(EPISODE, "mask").q1
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).norm() / exact.norm() < 0.1


def test_cached_features_answer_nearly_the_same(make_model, source, painted, tmp_path):
    model = make_model()
    cache = FeatureCache(source, model.backbone, tmp_path, "painted", views=1)
    cache.fill(painted.ids)
    exact, cached = (predict(model, s)(EPISODE, "mask").q1 for s in (source, cache))
    assert 0 < (exact - cached).norm() / exact.norm() < 0.05


def test_original_size_works_on_photographs_of_different_sizes(make_model, painted):
    predictor = OriginalSizePredictor(make_model(), painted, (0.7, 1.0, 1.3))
    for query in ("p0", "p8"):
        margins = predictor(Episode(1, query, ("p2", "p4")), "mask")
        assert margins.q2.shape == margins.q1.shape == painted.mask(query).shape
        assert margins.q2.isfinite().all()
    scores = evaluate(
        predictor, painted, EvaluationEpisodes(painted, shots=2, episodes=4), border="background"
    )
    assert list(scores.meters) == ["q1", "s", "q2"]


def test_scales_are_summed(make_model, painted):
    def q2(*scales):
        return OriginalSizePredictor(make_model(), painted, scales)(EPISODE, "mask").q2

    torch.testing.assert_close(q2(0.7, 1.0, 1.3), q2(0.7) + q2(1.0) + q2(1.3))
    assert not torch.allclose(q2(0.7), q2(1.3))


def test_original_size_without_first_masks(make_model, painted):
    margins = OriginalSizePredictor(make_model("without=[mpm1, mpm2]"), painted, (1.0,))(
        EPISODE, "mask"
    )
    assert margins.q1 is None and margins.s is None and margins.q2.isfinite().all()


def test_the_baseline_finds_what_is_trivially_apart(painted, source):
    """Features that are the pixel's colour: the nearer prototype is the right one."""

    class Colours(torch.nn.Module):
        widths = (1, 3)  # a first layer that must not be looked at, then three channels

        def __init__(self):
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            noise = torch.full_like(images[:, :1], 1e6)
            return torch.cat([noise, images], dim=1)

    baseline = PrototypeBaseline(Reader(Colours(), source))
    episodes = EvaluationEpisodes(painted, shots=2, episodes=6)
    assert evaluate(baseline, painted, episodes).meters["q2"].mean_iou() > 90
    # Negative control: supports whose masks are turned around find the background.
    turned = evaluate(
        lambda episode, annotation: type(answer := baseline(episode, annotation))(-answer.q2),
        painted,
        episodes,
    )
    assert turned.meters["q2"].mean_iou() < 10


def test_the_baseline_takes_the_features_of_a_backbone_or_of_its_cache(
    make_model, source, painted, tmp_path
):
    backbone = make_model().backbone
    cache = FeatureCache(source, backbone, tmp_path, "painted", views=1)
    cache.fill(painted.ids)
    exact = PrototypeBaseline(Reader(backbone, source))(EPISODE, "mask").q2
    cached = PrototypeBaseline(Reader(backbone, cache))(EPISODE, "mask").q2
    assert exact.shape == cached.shape == (9, 9)
    torch.testing.assert_close(exact, cached, atol=0.02, rtol=0)
    boxes = PrototypeBaseline(Reader(backbone, source))(EPISODE, "box").q2
    assert not torch.allclose(exact, boxes)


def test_the_prior_alone_is_what_an_untrained_model_answers(make_model, source):
    model = make_model("prior=20")
    torch.nn.init.zeros_(model.mrm.aspp.classify.weight)
    whole = predict(model, source)(EPISODE, "mask").q2
    alone = PriorAlone(Encoder(model, source))
    torch.testing.assert_close(20 * alone(EPISODE, "mask").q2, whole, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(alone(EPISODE, "mask").q2, alone(EPISODE, "box").q2)
    with pytest.raises(ConfigError, match="no prior"):
        PriorAlone(Encoder(make_model(), source))(EPISODE, "mask")


def test_upsampling_keeps_a_constant_and_the_sign():
    torch.testing.assert_close(upsample(torch.full((2, 3), -1.5), (7, 9)), torch.full((7, 9), -1.5))
    large = upsample(torch.tensor([[1.0, -1.0]]), (4, 8)).numpy()
    assert np.array_equal(large > 0, np.tile([True] * 4 + [False] * 4, (4, 1)))
