import pytest
import torch

from arnet.data.episodes import Episode, EvaluationEpisodes
from arnet.data.transforms import binary_mask
from arnet.evaluation.evaluator import evaluate
from arnet.modeling.margins import Margins


class Oracle:
    """Knows the labels, and says them with a sign for each of its masks."""

    def __init__(self, dataset, q2=1, q1=None, s=None):
        self.dataset, self.signs = dataset, {"q2": q2, "q1": q1, "s": s}
        self.asked = []

    def label(self, image_id, class_id):
        return torch.from_numpy(binary_mask(self.dataset.mask(image_id), class_id))

    def __call__(self, episode, annotation):
        self.asked.append(annotation)
        query = 2.0 * (self.label(episode.query, episode.class_id) == 1) - 1
        supports = torch.stack(
            [self.label(name, episode.class_id)[:40, :50] for name in episode.supports]
        )
        margins = {"q2": query, "q1": query, "s": 2.0 * (supports == 1) - 1}
        answer = {n: None if sign is None else sign * margins[n] for n, sign in self.signs.items()}
        return Margins(**answer, support_labels=supports)


class Left(Oracle):
    """Misses what lies right of the twentieth column of a support."""

    def __call__(self, episode, annotation):
        margins = super().__call__(episode, annotation)
        margins.s[..., 20:] = -1
        return margins


@pytest.fixture
def episodes(painted):
    return EvaluationEpisodes(painted, shots=2, episodes=6)


def test_a_perfect_predictor_scores_100_and_an_inverted_one_0(painted, episodes):
    perfect = evaluate(Oracle(painted), painted, episodes).meters["q2"]
    assert (perfect.mean_iou(), perfect.binary_iou()) == (100, 100)
    inverted = evaluate(Oracle(painted, q2=-1), painted, episodes).meters["q2"]
    assert (inverted.mean_iou(), inverted.binary_iou()) == (0, 0)


def test_q1_s_and_q2_are_scored_apart(painted, episodes):
    scores = evaluate(Oracle(painted, q2=1, q1=-1, s=1), painted, episodes)
    assert list(scores.meters) == ["q1", "s", "q2"]
    assert {n: m.mean_iou() for n, m in scores.meters.items()} == {"q1": 0, "s": 100, "q2": 100}
    assert list(evaluate(Oracle(painted), painted, episodes).meters) == ["q2"]
    swapped = evaluate(Oracle(painted, q2=1, q1=1, s=-1), painted, episodes)
    assert swapped.meters["s"].mean_iou() == 0


def test_every_support_is_scored(painted):
    episode = Episode(1, "p0", ("p2", "p4"))
    meter = evaluate(Oracle(painted, s=1), painted, [episode]).meters["s"]
    area = sum(
        (binary_mask(painted.mask(name), 1)[:40, :50] == 1).sum() for name in episode.supports
    )
    assert meter.foreground[1].tolist() == [area, area]


def test_the_border_counts_as_asked(painted, episodes):
    class Bold(Oracle):
        """Takes the ignored border for the object."""

        def label(self, image_id, class_id):
            label = super().label(image_id, class_id)
            return torch.where(label == 255, 1, label)

    assert evaluate(Bold(painted), painted, episodes).meters["q2"].mean_iou() == 100
    strict = evaluate(Bold(painted), painted, episodes, border="background")
    assert 50 < strict.meters["q2"].mean_iou() < 95


def test_margins_of_any_size_are_brought_to_the_labels(painted):
    class Small:
        def __call__(self, episode, annotation):
            return Margins(torch.tensor([[1.0, -1.0], [1.0, -1.0]]))

    meter = evaluate(Small(), painted, [Episode(1, "p0", ("p2",))], border="background").meters
    height, width = painted.mask("p0").shape
    inside = (painted.mask("p0")[:, : width // 2] == 1).sum()
    outside = (painted.mask("p0")[:, width // 2 :] == 1).sum()
    assert meter["q2"].foreground[1].tolist() == [inside, height * width // 2 + outside]


def test_annotation_is_passed_on_and_every_episode_is_told(painted, episodes):
    oracle, told = Oracle(painted), []
    scores = evaluate(oracle, painted, episodes, annotation="box", observe=told.append)
    assert set(oracle.asked) == {"box"}
    assert [one.number for one in told] == [0, 1, 2, 3, 4, 5] and scores.episodes == 6
    assert [one.episode for one in told] == list(episodes)
    assert all(one.iou == {"q2": 100} for one in told)


def test_the_iou_of_an_episode_is_that_of_its_masks_alone(painted):
    """Of several supports the pixels are summed, as they are over the episodes."""
    told = []
    asked = [Episode(1, "p0", ("p2", "p8")), Episode(2, "p1", ("p3",))]
    found = evaluate(Left(painted, s=1), painted, asked, observe=told.append).meters
    areas = {n: (binary_mask(painted.mask(n), 1)[:40, :50] == 1) for n in ("p2", "p8")}
    both = sum(100 * area[:, :20].sum() for area in areas.values())
    assert told[0].iou == {
        "s": pytest.approx(both / sum(area.sum() for area in areas.values())),
        "q2": 100,
    }
    assert told[0].iou["s"] != told[1].iou["s"]
    assert found["s"].per_class() == {c: told[n].iou["s"] for n, c in enumerate((1, 2))}


def test_no_episodes_give_no_scores(painted):
    scores = evaluate(Oracle(painted), painted, [])
    assert scores.episodes == 0 and scores.meters == {}
