from dataclasses import replace

import numpy as np
import pytest

from arnet.data.episodes import Episode, EvaluationEpisodes
from arnet.evaluation import ranking, report
from arnet.evaluation.evaluator import Scored
from arnet.evaluation.opening import Request, open_evaluation
from arnet.evaluation.protocols import get_protocol
from arnet.runtime.annotations import boxes_from_mask


@pytest.fixture
def evaluated(checkpoint):
    """Runs an evaluation; gives it and all of its episodes."""

    def evaluated(**changes):
        few = replace(get_protocol("standard"), episodes=5, seeds=(0, 3))
        request = Request(**{"protocol": few, "shots": 2, **changes})
        evaluation, found = open_evaluation(checkpoint, checkpoint.config, request), []
        report.run(evaluation, observe=lambda *one: found.append(one))
        return evaluation, found

    return evaluated


def scored(number, q2, query="a", class_id=1):
    return 0, Scored(number, Episode(class_id, query, ("z",)), {"q2": q2})


def test_the_worst_are_those_with_the_lowest_q2():
    found = [scored(0, 50.0), scored(1, None), scored(2, 0.0), scored(3, 20.0)]
    assert [one.number for _, one in ranking.worst_first(found)] == [2, 3, 0, 1]


def test_a_query_is_shown_once_for_each_class_with_the_supports_it_did_worst_with():
    found = [scored(0, 1.0), scored(1, 2.0), scored(2, 3.0, class_id=2), scored(3, 4.0, "b")]
    assert [one.number for _, one in ranking.each_query_once(found, 3)] == [0, 2, 3]
    assert [one.number for _, one in ranking.each_query_once(found, 2)] == [0, 2]


def test_an_episode_can_be_drawn_again_from_what_is_told_of_it(evaluated):
    evaluation, found = evaluated(baseline=True)
    dataset = evaluation.dataset
    described = ranking.describe(found, dataset)
    assert [(one["seed"], one["episode"]) for one in described] == [
        (seed, number) for seed in (0, 3) for number in range(5)
    ]
    for one in described:
        drawn = EvaluationEpisodes(dataset, None, 2, 5, one["seed"], "random")[one["episode"]]
        assert one["query"] == drawn.query and one["supports"] == list(drawn.supports)
        assert one["class"] == dataset.class_names[drawn.class_id]
        assert list(one["iou"]) == ["q1", "s", "q2"]
    assert len({one["iou"]["q2"] for one in described}) > 5


def test_the_picture_shows_the_masks_that_were_scored_and_the_label(evaluated, monkeypatch):
    evaluation, found = evaluated()
    rows = []
    monkeypatch.setattr(ranking, "figure", rows.extend)
    for _, one in found:
        ranking.draw(evaluation, one)
    for row, (_, one) in zip(rows, found, strict=True):
        for mask, name in ((row.q1, "q1"), (row.q2, "q2")):
            true = row.truth == 1
            iou = 100 * (mask & true).sum() / (mask | true).sum()
            assert iou == pytest.approx(one.iou[name])
        assert row.name == evaluation.dataset.class_names[one.episode.class_id]
        assert [s.source for s in row.supports] == list(one.episode.supports)
        shapes = [support.image.shape[:2] for support in row.supports]
        assert [s.shape for s in row.s] == [s.mask.shape for s in row.supports] == shapes


@pytest.mark.parametrize("protocol", ["standard", "canet"])
def test_pictures_of_boxes_and_of_photographs_in_their_own_size(evaluated, protocol):
    few = replace(get_protocol(protocol), episodes=1, seeds=(0,))
    evaluation, [(_, one)] = evaluated(protocol=few, annotation="box", shots=1)
    picture = ranking.draw(evaluation, one)
    assert picture.dtype == np.uint8 and picture.shape[1] > 5 * 240
    mask = evaluation.dataset.mask(one.episode.supports[0]) == one.episode.class_id
    support = ranking._support(
        evaluation.dataset, *one.episode.supports, one.episode.class_id, "box"
    )
    assert support.kind == "box" and np.array_equal(support.mask, boxes_from_mask(mask))
