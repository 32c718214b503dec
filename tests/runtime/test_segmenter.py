"""A bundle becomes masks: the tiny bundle finds what has the colour of its supports."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from arnet.runtime.segmenter import Segmenter
from arnet.runtime.state import SupportState

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)

OPTIONS = [
    {},
    {"classes_together": False},
    {"shots": 2},
    {"shots": 2, "classes_together": False},
    {"first": False},
    {"fuse": False},
    {"state": "float16"},
]


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


def test_an_answer_prints_what_there_is_without_its_values(segmenter, learn, photograph) -> None:
    query, _ = photograph(GREEN, (30, 50), (90, 120))
    states = {"red": learn(segmenter, RED), "green": learn(segmenter, GREEN)}
    found = segmenter.segment(query, states, parts=False)
    form = f"ClassMasks(probability {query.shape[:2]})"
    printed = repr(found)
    assert printed.startswith(f"Segmentation(classes={{'red': {form}, 'green': {form}}}, seconds=")
    assert "array" not in printed
    whole = repr(segmenter.segment(query, states).classes["red"])
    assert f"first {query.shape[:2]}, supports (2, " in whole and "array" not in whole


def test_what_is_not_wanted_is_not_computed(segmenter, learn, photograph, monkeypatch) -> None:
    states = {"red": learn(segmenter, RED), "green": learn(segmenter, GREEN)}
    query, _ = photograph(GREEN, (30, 50), (90, 120))
    ran: list[str] = []
    run = segmenter.engine.run
    monkeypatch.setattr(
        segmenter.engine, "run", lambda stage, feeds: ran.append(stage) or run(stage, feeds)
    )
    whole = segmenter.segment(query, states)
    assert ran.count("postprocess") == 2 * ran.count("decode")
    for ask in (
        lambda: segmenter.segment(query, states, parts=False),
        lambda: next(segmenter.segment([query], states, parts=False)),
    ):
        ran.clear()
        found = ask()
        assert ran.count("postprocess") == ran.count("decode")
        for name, masks in found.classes.items():
            assert masks.first is None and masks.supports is None
            np.testing.assert_array_equal(masks.probability, whole.classes[name].probability)
    ran.clear()
    [labels] = segmenter.label([query], states)
    assert ran.count("postprocess") == ran.count("decode")
    np.testing.assert_array_equal(labels.labels, whole.labels())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_each_class_is_found_and_the_other_is_not(options, make_bundle, learn, photograph) -> None:
    segmenter = Segmenter.load(make_bundle(**options), threads=1)
    states = {"red": learn(segmenter, RED), "green": learn(segmenter, GREEN)}
    query, truth = photograph(GREEN, (30, 50), (90, 120))
    answer = segmenter.segment(query, states)
    assert list(answer.classes) == ["red", "green"]
    labels = answer.labels()
    assert labels.shape == (90, 120)
    assert iou(labels == 2, truth == 1) > 0.5
    assert not (labels == 1).any()
    for masks in answer.classes.values():
        assert masks.probability.dtype == np.float32
        assert masks.supports is not None and masks.supports.shape == (2, 5, 5)
        assert (masks.first is None) == (options.get("first") is False)
        for map_ in (masks.probability, masks.supports):
            assert 0 <= map_.min() <= map_.max() <= 1
    if (first := answer.classes["green"].first) is not None:
        assert first.shape == (90, 120)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_classes_do_not_change_each_other(options, make_bundle, learn, photograph) -> None:
    segmenter = Segmenter.load(make_bundle(**options), threads=1)
    counts = (2, 2, 2) if "shots" in options else (1, 3, 2)
    states = {
        str(colour): learn(segmenter, colour, shots)
        for colour, shots in zip((RED, GREEN, BLUE), counts, strict=True)
    }
    query, _ = photograph(GREEN, (30, 50), (90, 120))
    together = segmenter.segment(query, states)
    for (name, state), shots in zip(states.items(), counts, strict=True):
        alone = segmenter.segment(query, {name: state}).classes[name]
        found = together.classes[name]
        assert found.supports is not None and len(found.supports) == shots
        for key in ("probability", "first", "supports"):
            a, b = getattr(found, key), getattr(alone, key)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, atol=1e-6)
    maps = [masks.probability for masks in together.classes.values()]
    assert np.abs(maps[0] - maps[1]).max() > 0.1  # the negative control


def test_q1_and_s_are_those_of_the_stages(segmenter, learn, photograph) -> None:
    """What the graphs of the tiny bundle compute, in NumPy."""
    state = learn(segmenter, RED, 3)
    query, _ = photograph(RED, (40, 50))
    engine = segmenter.engine
    pixels = engine.run("preprocess", {"image": engine.upload(query)})["pixels"]
    features = engine.download(engine.run("encode_image", {"pixels": pixels})["features"])
    match, own = state.per_shot["match"], state.per_shot["self"]
    first = (match * features).sum(axis=1).mean(axis=0)
    supports = 1 / (1 + np.exp(-(own * 2 * features).sum(axis=1)))
    vector = state.per_shot["prototype"].mean(axis=0)
    margins = (vector[:, None, None] * features[0]).sum(axis=0) + 1e-3 * first - 3
    found = segmenter.segment(query, {"red": state}).classes["red"]
    np.testing.assert_allclose(found.supports, supports, atol=1e-5)
    # Enlarging keeps the corners of a map.
    for map_, coarse in ((found.first, first), (found.probability, margins)):
        corners = 1 / (1 + np.exp(-coarse[[0, 0, -1, -1], [0, -1, 0, -1]]))
        np.testing.assert_allclose(map_[[0, 0, -1, -1], [0, -1, 0, -1]], corners, atol=1e-5)


def test_unknown_pixels_of_a_mask_teach_nothing(segmenter, photograph) -> None:
    image, mask = photograph(RED)
    image[:10] = BLUE
    marked = mask.copy()
    marked[:10] = 255
    with_border, without = (segmenter.learn([image], [m]) for m in (marked, mask))
    object_too = segmenter.learn([image], [np.minimum(marked, 1)])
    name = "prototype"
    np.testing.assert_array_equal(with_border.per_shot[name], without.per_shot[name])
    assert np.abs(object_too.per_shot[name] - without.per_shot[name]).max() > 0.1


def test_shots_are_added(segmenter, learn, photograph) -> None:
    pairs = [photograph(RED, (10 * n, 30)) for n in range(3)]
    states = [segmenter.learn([image], [mask]) for image, mask in pairs]
    joined = states[0].add(states[1]).add(states[2])
    at_once = segmenter.learn([i for i, _ in pairs], [m for _, m in pairs])
    assert joined.per_class is None and at_once.per_class is not None
    fused = segmenter.fuse(joined)
    np.testing.assert_array_equal(fused.per_class["refine"], at_once.per_class["refine"])
    assert segmenter.fuse(fused) is fused
    query, _ = photograph(RED, (40, 50))
    maps = [
        segmenter.segment(query, state).classes["object"].probability
        for state in (joined, fused, at_once, states[0].add(learn(segmenter, BLUE)))
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])
    assert np.abs(maps[0] - maps[3]).max() > 0.1


def test_a_state_that_was_saved(segmenter, learn, photograph, tmp_path) -> None:
    state = learn(segmenter, RED)
    state.save(tmp_path / "red.npz")
    query, _ = photograph(RED, (40, 50))
    np.testing.assert_array_equal(
        segmenter.segment(query, SupportState.load(tmp_path / "red.npz")).labels(),
        segmenter.segment(query, state).labels(),
    )


def test_a_folder_and_a_zip_answer_alike(shared_bundle, make_zip, segmenter, learn, photograph):
    zipped = Segmenter.load(make_zip(shared_bundle), threads=1)
    state = learn(segmenter, RED)  # a state of the one is a state of the other
    query, _ = photograph(RED, (40, 50))
    np.testing.assert_array_equal(
        *(s.segment(query, state).classes["object"].probability for s in (segmenter, zipped))
    )


def test_many_photographs_are_taken_one_by_one(segmenter, learn, photograph) -> None:
    state = learn(segmenter, RED)
    queries = [photograph(RED, (n, 2 * n), (70 + n, 90))[0] for n in range(5)]
    taken = []

    def frames() -> Iterator[np.ndarray]:
        for number, query in enumerate(queries):
            taken.append(number)
            yield query

    answers = segmenter.segment(frames(), state)
    assert taken == []
    next(answers)
    assert taken == [0]
    rest = list(answers)
    assert taken == [0, 1, 2, 3, 4]
    for query, answer in zip(queries[1:], rest, strict=True):
        alone = segmenter.segment(query, {"object": state})
        np.testing.assert_array_equal(answer.labels(), alone.labels())
    assert len(list(segmenter.segment(queries, state))) == 5


def test_threads_answer_as_one(segmenter, learn, photograph) -> None:
    work = []
    for number, colour in enumerate((RED, GREEN, BLUE, RED, GREEN, BLUE)):
        state = learn(segmenter, colour, number + 1)
        query, _ = photograph(colour, (3 * number, 50), (80 + number, 100))
        work.append((query, state, segmenter.segment(query, state).classes["object"].probability))
    wrong = []

    def repeat(query, state, expected):
        for _ in range(20):
            found = segmenter.segment(query, state).classes["object"].probability
            if not np.array_equal(found, expected):
                wrong.append(state)

    threads = [threading.Thread(target=repeat, args=item) for item in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_times_of_the_stages(segmenter, learn, photograph) -> None:
    seconds = segmenter.segment(photograph(RED)[0], learn(segmenter, RED)).seconds
    stages = ["preprocess", "encode_image", "encode_query", "decode", "postprocess"]
    assert list(seconds) == stages
    assert all(0 < value < 10 for value in seconds.values())


def test_what_it_says_of_itself(segmenter) -> None:
    described = segmenter.describe()
    assert described["sha256"] == segmenter.bundle.sha256
    assert described | {"engine_version": "", "sha256": ""} == {
        "kind": "bundle",
        "name": "tiny",
        "sha256": "",
        "precision": "fp32",
        "input_size": 33,
        "fused_shots": None,
        "engine": "onnx",
        "engine_version": "",
        "device": "cpu",
        "threads": 1,
    }
