import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from arnet.data import EvaluationEpisodes
from arnet.data.transforms import binary_mask
from arnet.evaluation import report
from arnet.evaluation.absent import AbsentEpisodes, FalseMarks, false_marks, queries_without
from arnet.evaluation.data import data_config
from arnet.evaluation.opening import Request, open_evaluation
from arnet.evaluation.protocols import get_protocol
from arnet.modeling.margins import Margins
from arnet.runtime.errors import DataError


class Sees:
    """Marks whatever is labelled as one class, whichever was asked for."""

    def __init__(self, dataset, class_id):
        self.dataset, self.class_id = dataset, class_id

    def __call__(self, episode, annotation):
        label = binary_mask(self.dataset.mask(episode.query), self.class_id)
        return Margins(torch.from_numpy(np.where(label == 1, 1.0, -1.0)))


@pytest.fixture
def episodes(painted):
    return EvaluationEpisodes(painted, shots=2, episodes=30, seed=3)


def test_the_same_supports_are_asked_about_what_does_not_show_their_class(painted, episodes):
    absent = AbsentEpisodes(episodes, queries_without(painted, [1, 2]))
    assert len(absent) == 30 and list(absent) == [absent[n] for n in range(30)]
    for shown, other in zip(episodes, absent, strict=True):
        assert (other.class_id, other.supports) == (shown.class_id, shown.supports)
        assert (painted.mask(other.query) != other.class_id).all()
    assert len({e.query for e in absent}) > 5
    other_seed = EvaluationEpisodes(painted, shots=2, episodes=30, seed=4)
    again = AbsentEpisodes(other_seed, queries_without(painted, [1, 2]))
    assert [e.query for e in again] != [e.query for e in absent]


def test_photographs_that_mark_nothing_are_among_them(painted):
    painted.source.masks["empty"] = np.zeros((40, 50), np.uint8)
    scan = {**painted.scan, "empty": replace(painted.scan["p0"], pixels={}, usable=())}
    more = replace(painted, ids=[*painted.ids, "empty"], scan=scan)
    assert queries_without(more, [1])[1] == ["p1", "p3", "p5", "p7", "p9", "empty"]


def test_in_a_union_only_those_of_the_same_member_are_known_to_be_without(painted):
    names = {1: "a/red", 2: "a/green"}
    ids = [f"{'ab'[n > 3]}/p{n}" for n in range(10)]
    scan = {i: painted.scan[i[2:]] for i in ids}
    both = replace(painted, class_names=names, ids=ids, scan=scan, groups=((1.0, (1, 2)),))
    assert queries_without(both, [1]) == {1: ["a/p1", "a/p3"]}


def test_where_all_photographs_show_it_none_can_be_wrong(painted):
    reds = replace(painted, ids=[i for i in painted.ids if 1 in painted.scan[i].pixels])
    assert list(queries_without(reds, [2])) == [2]
    with pytest.raises(DataError, match="all photographs of painted show red") as caught:
        queries_without(reds, [1, 2])
    assert "choose --classes green" in caught.value.hint and "val.txt" in caught.value.hint
    with pytest.raises(DataError) as caught:
        queries_without(reds, [1])
    assert "--classes" not in caught.value.hint


def test_what_is_marked_is_wrong(painted, episodes):
    absent = AbsentEpisodes(episodes, queries_without(painted, [1, 2]))
    found = false_marks(Sees(painted, 1), painted, absent)
    # Asked for red, all queries are green: it marks nothing. Asked for green, all are red.
    per_class = found.per_class()
    assert per_class[1] == (0, 0) and per_class[2][0] == 100
    shares = [
        (mask == 1).sum() / (mask != 255).sum()
        for mask in (painted.mask(e.query) for e in absent if e.class_id == 2)
    ]
    assert per_class[2][1] == pytest.approx(100 * np.mean(shares))
    assert found.mean() == (50, pytest.approx(per_class[2][1] / 2))
    strict = false_marks(Sees(painted, 1), painted, absent, border="background")
    assert 0 < strict.per_class()[2][1] < per_class[2][1]  # the border is part of the area


def test_more_than_a_percent_is_a_mark_unless_it_is_in_the_border():
    found = FalseMarks()
    label = np.zeros((10, 20), np.uint8)
    label[0] = 255  # 180 pixels count
    marked = np.zeros(label.shape, bool)
    marked[0] = True
    found.update(1, marked, label)
    assert found.per_class()[1] == (0, 0)
    marked[5, 5] = True  # a speck: its area counts, but no mask does
    found.update(1, marked, label)
    assert found.per_class()[1] == pytest.approx((0, 100 / 180 / 2))
    marked[5, 6] = True
    found.update(1, marked, label)
    assert found.per_class()[1] == pytest.approx((100 / 3, 300 / 180 / 3))
    found.update(1, marked, np.full_like(label, 255))  # nothing counts
    assert found.per_class()[1] == pytest.approx((25, 300 / 180 / 4))


@pytest.fixture
def with_an_empty_one(shapes, tmp_path):
    """The shapes, and a photograph for validation whose mask marks nothing."""
    root = shutil.copytree(shapes, tmp_path / "shapes")
    Image.fromarray(np.full((70, 80, 3), 90, np.uint8)).save(root / "images" / "empty.png")
    Image.fromarray(np.zeros((70, 80), np.uint8)).save(root / "masks" / "empty.png")
    with (root / "val.txt").open("a") as file:
        file.write("\nempty\n")
    return root


def test_it_stands_beside_the_scores_and_changes_none(checkpoint, with_an_empty_one, tmp_path):
    rules = replace(get_protocol("standard"), episodes=6, seeds=(0, 1))
    told = []

    def run(**changes):
        request = Request(rules, baseline=True, **changes)
        # From cached features: also of the photographs that only these queries are.
        cache = str(tmp_path / "cache")
        config = data_config(checkpoint, root=str(with_an_empty_one), cache=cache)
        evaluation = open_evaluation(checkpoint, config, request)
        told.clear()
        return report.run(evaluation, progress=lambda *n: told.append(n))

    plain = run()
    assert told == [(n, 24) for n in range(1, 25)]
    assert not list((tmp_path / "cache").rglob("empty*"))  # no episode asks about it
    result = run(absent=True)
    assert told == [(n, 48) for n in range(1, 49)]
    assert list((tmp_path / "cache").rglob("empty*"))
    absent, images = result.pop("absent"), result.pop("absent_images")
    # Of the six photographs for validation and the empty one each class is in four.
    assert images == {"square": 3, "disc": 3, "bar": 3}
    few = result["notes"].pop()
    assert few.startswith("few photographs without the class") and "disc 3" in few
    assert result == plain
    assert list(absent) == ["arnet", "baseline"]
    for found in absent.values():
        assert set(found["per_class"]) == {"square", "disc", "bar"}
        assert 0 < found["area"]["mean"] < found["queries"]["mean"] <= 100
    # The nearer of two prototypes is always one of them.
    assert absent["baseline"]["queries"]["mean"] == 100


def test_mean_and_deviation_over_the_seeds(painted):
    first, second = FalseMarks(), FalseMarks()
    label = np.zeros((10, 10), np.uint8)
    none, half, whole = (np.arange(100).reshape(10, 10) < n for n in (0, 50, 100))
    for mask in (half, none):
        first.update(1, mask, label)
    second.update(1, whole, label)
    second.update(2, none, label)
    found = report._marks([first, second], painted)
    red, green = found.pop("per_class").values()
    assert red == {"queries": {"mean": 75, "std": 25}, "area": {"mean": 62.5, "std": 37.5}}
    assert green == {"queries": {"mean": 0, "std": 0}, "area": {"mean": 0, "std": 0}}
    # Of the second run the mean of both classes; the first has one.
    assert found == {"queries": {"mean": 50, "std": 0}, "area": {"mean": 37.5, "std": 12.5}}


@pytest.mark.parametrize(
    ("protocol", "annotation", "border"),
    [("canet", "mask", "background"), ("standard", "box", "ignore")],
)
def test_it_asks_and_scores_as_the_episodes_are(
    checkpoint, monkeypatch, protocol, annotation, border
):
    asked = []

    def watched(predictor, dataset, episodes, *rest):
        asked.append(rest[:2])
        assert all(e.class_id not in dataset.scan[e.query].pixels for e in episodes)
        return false_marks(predictor, dataset, episodes, *rest)

    monkeypatch.setattr(report, "false_marks", watched)
    rules = replace(get_protocol(protocol), episodes=6, seeds=(5,))
    request = Request(rules, annotation=annotation, absent=True)
    result = report.run(open_evaluation(checkpoint, checkpoint.config, request))
    assert asked == [(annotation, border)]
    assert 0 <= result["absent"]["arnet"]["area"]["mean"] <= 100


def test_it_is_refused_before_features_are_cached(checkpoint, shapes, tmp_path, monkeypatch):
    from arnet.evaluation import opening

    dataset = opening.open_split(checkpoint.config, "val")
    (bar,) = (c for c, name in dataset.class_names.items() if name == "bar")
    only = replace(dataset, ids=[i for i in dataset.ids if bar in dataset.scan[i].pixels])
    monkeypatch.setattr(opening, "open_split", lambda *_: only)
    data = replace(checkpoint.config.data, cache=str(tmp_path / "cache"))
    request = Request(get_protocol("standard"), classes=("bar",), absent=True)
    with pytest.raises(DataError, match="show bar"):
        open_evaluation(checkpoint, replace(checkpoint.config, data=data), request)
    assert not (tmp_path / "cache").exists()
