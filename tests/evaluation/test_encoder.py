import pytest
import torch

from arnet.config import AugmentConfig
from arnet.data.episodes import Episode
from arnet.evaluation.encoder import Encoder, guide_masks
from arnet.evaluation.predictors import ARNetPredictor, PriorAlone, PrototypeBaseline
from arnet.evaluation.reading import Reader
from arnet.inputs import PLAIN, ImageInput

EPISODES = [
    Episode(1, "p0", ("p2", "p4")),
    Episode(1, "p6", ("p4", "p8")),
    Episode(2, "p1", ("p3", "p5")),
]


IMAGES = sorted({name for episode in EPISODES for name in (episode.query, *episode.supports)})


class Counted(ImageInput):
    """Counts what is read."""

    def __init__(self, dataset):
        super().__init__(dataset, 65, AugmentConfig())
        self.reads = []

    def read(self, image_id, seed=PLAIN):
        self.reads.append(image_id)
        return super().read(image_id, seed)


@pytest.fixture
def source(painted):
    return Counted(painted)


def answer(encoder, episode, annotation="mask"):
    """What the model says, by way of everything that is kept."""
    with torch.inference_mode():
        query = encoder.query(episode.query)
        state, labels = encoder.supports(episode, annotation)
        first = encoder.first_masks(episode, annotation)
        prior = encoder.prior(episode, annotation)
        return *first, prior, query.features, state.vectors, labels


def test_boxes_are_filled_and_larger_than_masks():
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    label[0, 2:6, 2:6] = 1
    label[0, 2:4, 2:4] = 0
    label[0, 6, 2:6] = 255
    masks, boxes = guide_masks(label, "mask"), guide_masks(label, "box")
    assert (masks.sum().item(), boxes.sum().item()) == (12, 16)
    assert boxes[0, 2:6, 2:6].all() and masks.dtype == boxes.dtype == torch.float32
    assert masks.max() == 1, "255 guides as background"


def test_what_is_kept_answers_as_what_is_computed_anew(make_model, source):
    kept = Encoder(make_model("prior=20"), source)
    first = [answer(kept, episode) for episode in EPISODES]
    again = [answer(kept, episode) for episode in EPISODES]
    assert sorted(source.reads) == IMAGES, "nothing is read twice, as query, support or both"
    alone = [answer(Encoder(make_model("prior=20"), source), episode) for episode in EPISODES]
    for one, two, three in zip(first, again, alone, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            assert torch.equal(a, b) and torch.equal(a, c)


def test_it_answers_as_the_model_at_once(make_model, source):
    model = make_model("prior=20")
    for episode in EPISODES:
        read = [source.read(name) for name in (episode.query, *episode.supports)]
        images = torch.stack([image for image, _ in read])
        masks = torch.stack(
            [torch.from_numpy(mask == episode.class_id).float() for _, mask in read[1:]]
        )
        with torch.no_grad():
            state = model.encode_support(images[1:], masks)
            query = model.encode_query(model.backbone(images[:1]))
            whole, prior = model.decode(query, state), model.prior(query, state)
        q1, s, found, *_, labels = answer(Encoder(model, source), episode)
        torch.testing.assert_close(q1, whole.q1)
        torch.testing.assert_close(s, whole.s)
        torch.testing.assert_close(found, prior)
        assert torch.equal(labels == 1, masks == 1)


def test_masks_and_boxes_and_classes_are_kept_apart(make_model, source):
    encoder = Encoder(make_model(), source)
    by_mask, by_box = (answer(encoder, EPISODES[0], a)[4] for a in ("mask", "box"))
    assert not torch.allclose(by_mask, by_box)
    other = answer(encoder, Episode(2, "p0", ("p2", "p4")))[4]
    assert not torch.allclose(by_mask, other)


def test_without_the_first_masks_and_the_prior(make_model, source):
    encoder = Encoder(make_model("without=[mpm1, mpm2]"), source)
    assert encoder.first_masks(EPISODES[0], "mask") == (None, None)
    assert encoder.prior(EPISODES[0], "mask") is None


@pytest.mark.parametrize("annotation", ["mask", "box"])
def test_all_that_is_compared_shares_what_is_read(make_model, source, annotation):
    model, passes = make_model("prior=20"), []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    encoder = Encoder(model, source)
    compared = (ARNetPredictor(encoder), PrototypeBaseline(encoder.reader), PriorAlone(encoder))
    shared = [[one(episode, annotation).q2 for episode in EPISODES] for one in compared]
    assert sorted(source.reads) == IMAGES and len(passes) == len(IMAGES)
    for number, episode in enumerate(EPISODES):
        alone = (
            ARNetPredictor(Encoder(model, source)),
            PrototypeBaseline(Reader(model.backbone, source)),
            PriorAlone(Encoder(model, source)),
        )
        for one, answers in zip(alone, shared, strict=True):
            assert torch.equal(one(episode, annotation).q2, answers[number])


def test_the_baseline_computes_in_float32_beside_a_model_that_does_not(make_model, source):
    model = make_model()
    encoder = Encoder(model, source, torch.bfloat16)
    ARNetPredictor(encoder)(EPISODES[0], "mask")
    beside = PrototypeBaseline(encoder.reader)(EPISODES[0], "mask").q2
    alone = PrototypeBaseline(Reader(model.backbone, source))(EPISODES[0], "mask").q2
    assert torch.equal(beside, alone)


def test_with_no_room_it_answers_the_same(make_model, source):
    model = make_model("prior=20")
    roomy, cramped = Encoder(model, source), Encoder(model, source)
    cramped.reader.recent.most = 0
    for episode in EPISODES:
        for a, b in zip(answer(roomy, episode), answer(cramped, episode), strict=True):
            assert torch.equal(a, b)
    assert cramped.reader.recent.size == 0
