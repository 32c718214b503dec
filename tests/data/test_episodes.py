from collections import Counter
from dataclasses import replace

import pytest

from arnet.data.episodes import EvaluationEpisodes, TrainingEpisodes
from arnet.runtime.errors import DataError


@pytest.fixture
def dataset(make_dataset):
    """Class 1 in 40 images, class 2 in 6, class 3 in 2; some images show two classes."""
    shown = {f"i{n:02d}": (1,) for n in range(40)}
    shown |= {f"i{n:02d}": (1, 2) for n in range(6)}
    shown |= {"i07": (1, 3), "j00": (3,)}
    return make_dataset(shown, count=3)


def check(dataset, episode, shots):
    assert len(episode.supports) == len(set(episode.supports)) == shots
    assert episode.query not in episode.supports
    for image_id in (episode.query, *episode.supports):
        assert episode.class_id in dataset.scan[image_id].pixels


@pytest.mark.parametrize("sampling", ["class", "image"])
def test_support_is_never_the_query_and_never_twice(dataset, sampling):
    training = TrainingEpisodes(dataset, (1, 2), (5, 5), sampling=sampling)
    for index in range(3000):
        check(dataset, training.draw(index), 5)


@pytest.mark.parametrize("order", ["canet", "random"])
def test_evaluation_support_is_never_the_query_and_never_twice(dataset, order):
    for episode in EvaluationEpisodes(dataset, (1, 2), 5, 2000, order=order):
        check(dataset, episode, 5)


def test_an_episode_depends_on_seed_and_number_only(dataset):
    one, other = (TrainingEpisodes(dataset, (1, 2), (1, 5), seed=7) for _ in range(2))
    forwards = [one.draw(index) for index in range(100)]
    backwards = [other.draw(index) for index in reversed(range(100))]
    assert forwards == backwards[::-1]
    differs = TrainingEpisodes(dataset, (1, 2), (1, 5), seed=8)
    assert sum(differs.draw(index) == episode for index, episode in enumerate(forwards)) < 20


def test_episodes_differ_from_each_other(dataset):
    training = TrainingEpisodes(dataset, (1,), (3, 3))
    assert len({training.draw(index) for index in range(200)}) > 190


def test_batches_have_one_k_and_every_k_occurs(dataset):
    training = TrainingEpisodes(dataset, (1, 2), (1, 5))
    seen = Counter()
    for index in range(200):
        batch = training.draw_batch(index, 4)
        (shots,) = {len(episode.supports) for episode in batch}
        assert len(set(batch)) > 1
        seen[shots] += 1
    assert set(seen) == {1, 2, 3, 4, 5}
    assert min(seen.values()) > 20
    assert training.draw_batch(3, 4) == TrainingEpisodes(dataset, (1, 2), (1, 5)).draw_batch(3, 4)


def test_batches_do_not_repeat_each_other(dataset):
    training = TrainingEpisodes(dataset, (1,), (5, 5))
    episodes = [e for index in range(50) for e in training.draw_batch(index, 4)]
    assert len(set(episodes)) > 195


def test_sampling_by_class_is_balanced_and_by_image_is_not(dataset):
    share = {}
    for sampling in ("class", "image"):
        training = TrainingEpisodes(dataset, (1, 2), sampling=sampling)
        share[sampling] = sum(training.draw(n).class_id == 2 for n in range(2000)) / 2000
    assert 0.45 < share["class"] < 0.55
    assert 0.09 < share["image"] < 0.17  # 6 of 46 pairs


def test_only_the_classes_asked_for_are_drawn(dataset):
    training = TrainingEpisodes(dataset, (2,), sampling="image")
    assert {training.draw(n).class_id for n in range(100)} == {2}
    assert {e.class_id for e in EvaluationEpisodes(dataset, (2,), episodes=50)} == {2}


def test_canet_order_shuffles_each_copy_but_the_first(dataset):
    pairs = [pair for pair in dataset.pairs if pair[1] in (1, 2)]
    count = len(pairs)
    evaluation = EvaluationEpisodes(dataset, (1, 2), episodes=3 * count - 1, order="canet")
    queries = [(e.query, e.class_id) for e in evaluation]
    first, second, third = (queries[n * count : (n + 1) * count] for n in range(3))
    assert first == pairs
    assert second != pairs and sorted(second) == sorted(pairs)
    assert third[:10] not in (pairs[:10], second[:10]) and len(third) == count - 1


def test_random_order_draws_any_pair_at_any_place(dataset):
    pairs = [pair for pair in dataset.pairs if pair[1] in (1, 2)]
    evaluation = EvaluationEpisodes(dataset, (1, 2), episodes=1000, order="random")
    queries = [(e.query, e.class_id) for e in evaluation]
    assert set(queries) == set(pairs)
    assert sorted(queries[: len(pairs)]) != sorted(pairs), "drawn with replacement"
    assert max(Counter(queries).values()) < 50  # 22 expected


def test_evaluation_is_the_same_for_a_seed_and_different_for_another(dataset):
    def drawn(order, seed):
        return list(EvaluationEpisodes(dataset, (1, 2), 2, 100, seed, order))

    for order in ("canet", "random"):
        assert drawn(order, 1) == drawn(order, 1) != drawn(order, 2)


def test_evaluation_is_a_sequence(dataset):
    evaluation = EvaluationEpisodes(dataset, (1, 2), episodes=100)
    assert len(evaluation) == len(list(evaluation)) == 100
    assert evaluation[42] == list(evaluation)[42]
    with pytest.raises(IndexError):
        evaluation[100]


@pytest.mark.parametrize("kind", [TrainingEpisodes, EvaluationEpisodes])
def test_too_many_shots_name_class_count_and_way_out(dataset, kind):
    most = {TrainingEpisodes: (1, 5), EvaluationEpisodes: 5}[kind]
    kind(dataset, (1, 2), most)
    more = {TrainingEpisodes: (1, 6), EvaluationEpisodes: 6}[kind]
    with pytest.raises(DataError, match=r"7 images.*: 2 class2 6, 3 class3 2") as caught:
        kind(dataset, None, more)
    enough = ",".join(dataset.class_names[c] for c in dataset.classes_with(7))
    assert f"--classes {enough}" in caught.value.hint
    kind(dataset, dataset.classes_with(7), more)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TrainingEpisodes, {"shots": (0, 1)}),
        (TrainingEpisodes, {"shots": (2, 1)}),
        (TrainingEpisodes, {"sampling": "all"}),
        (TrainingEpisodes, {"classes": (9,)}),
        (EvaluationEpisodes, {"shots": 0}),
        (EvaluationEpisodes, {"episodes": 0}),
        (EvaluationEpisodes, {"order": "sorted"}),
        (EvaluationEpisodes, {"classes": ()}),
    ],
)
def test_wrong_arguments_are_told(dataset, kind, wrong):
    with pytest.raises(DataError):
        kind(dataset, **wrong)


def test_an_image_listed_twice_is_not_its_own_support(make_dataset):
    from arnet.data.dataset import build_dataset

    once = make_dataset({"a": (1,), "b": (1,), "c": (1,)}, count=1)
    twice = build_dataset(
        "twice", once.class_names, ["a", "b", "c", "a", "b"], once.source, once.scan,
        split="train", novel_classes=(),
    )  # fmt: skip
    training = TrainingEpisodes(twice, shots=(2, 2))
    for index in range(200):
        check(twice, training.draw(index), 2)


def test_some_queries_do_not_show_the_class(make_dataset) -> None:
    shown = {f"i{n}": (n % 3 + 1,) for n in range(30)} | {"both": (1, 2, 3)}
    dataset = make_dataset(shown, count=3)
    plain = TrainingEpisodes(dataset, shots=(1, 2), seed=4)
    some = TrainingEpisodes(dataset, shots=(1, 2), seed=4, absent=0.5)
    assert all((e := plain.draw(n)).class_id in dataset.scan[e.query].pixels for n in range(200))
    empty = 0
    for n in range(200):
        episode, same = some.draw(n), plain.draw(n)
        assert episode.supports == same.supports and episode.class_id == same.class_id
        if episode.class_id not in dataset.scan[episode.query].pixels:
            empty += 1
        else:
            assert episode == same
    assert 80 < empty < 120


def test_a_union_is_drawn_from_as_for_the_models_that_come_with_arnet(make_dataset) -> None:
    """There an image that is drawn first and shows the class is not taken, and no other."""
    shown = {f"i{n}": (n % 3 + 1,) for n in range(30)} | {"both": (1, 2, 3), "empty": ()}
    dataset = replace(make_dataset(shown, count=3), groups=((1.0, (1, 2, 3)),))
    episodes = TrainingEpisodes(dataset, shots=(1, 2), seed=4, absent=0.5)
    drawn = [(episode.class_id, episode.query) for episode in map(episodes.draw, range(8))]
    assert drawn == [
        *((3, "i29"), (3, "i2"), (2, "i25"), (2, "i6")),
        *((1, "i17"), (1, "i25"), (2, "i9"), (3, "i26")),
    ]


def test_images_that_show_nothing_are_queries_of_the_only_class(make_dataset) -> None:
    shown = {f"i{n}": (1,) for n in range(10)} | {"empty": (), "bare": ()}
    some = TrainingEpisodes(make_dataset(shown, count=1), seed=4, absent=0.5)
    queries = [some.draw(n).query for n in range(200)]
    assert 80 < sum(query in ("empty", "bare") for query in queries) < 120
    assert {"empty", "bare"} < set(queries) and not some.always_shown
    never = TrainingEpisodes(make_dataset(shown, count=1), seed=4)
    assert not {"empty", "bare"} & {never.draw(n).query for n in range(200)}


def test_a_class_that_all_images_show_has_no_query_without(make_dataset) -> None:
    dataset = make_dataset({f"i{n}": (1, 2) if n % 2 else (1,) for n in range(10)}, count=2)
    some = TrainingEpisodes(dataset, seed=4, absent=1)
    assert some.always_shown == (1,)
    for episode in map(some.draw, range(50)):
        assert (episode.class_id in dataset.scan[episode.query].pixels) == (episode.class_id == 1)
