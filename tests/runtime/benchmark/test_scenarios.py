"""What is timed in each scenario, and what is not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.benchmark.scenarios import (
    SCENARIOS,
    Contender,
    applies,
    call_of,
    open_contender,
)
from arnet.runtime.benchmark.workload import Workload

LEARNING, QUERY = 0.02, 0.03


def seconds(call) -> float:
    """The fastest of some calls: other processes can only make one slower."""
    found = []
    for _ in range(5):
        began = time.perf_counter()
        call(0)
        found.append(time.perf_counter() - began)
    return min(found)


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [("support", 2 * LEARNING), ("query", QUERY), ("episode", 2 * LEARNING + QUERY)],
)
def test_each_scenario_times_its_part_of_the_work(
    scenario, expected, colours, workload: Workload
) -> None:
    segmenter = colours(delay=QUERY, learning=LEARNING)
    call = call_of(scenario, segmenter, workload.episode(2, 1), workload.queries)
    assert seconds(call) == pytest.approx(expected, abs=0.008)


def test_a_segmenter_that_keeps_nothing_pays_for_the_supports_in_its_query(
    colours, workload: Workload
) -> None:
    segmenter = colours(delay=QUERY, learning=LEARNING, caches_support=False)
    call = call_of("query", segmenter, workload.episode(2, 1), workload.queries)
    assert seconds(call) == pytest.approx(2 * LEARNING + QUERY, abs=0.008)


def test_without_states_there_is_no_encoding_of_a_support(colours, workload: Workload) -> None:
    supports = workload.episode(1, 1)
    whole = Contender("whole", lambda: colours(caches_support=False))
    opened = open_contender(whole, supports, workload.queries[0])
    assert [applies(scenario, opened) for scenario in SCENARIOS] == [False, True, True]
    opened = open_contender(Contender("parts", colours), supports, workload.queries[0])
    assert all(applies(scenario, opened) for scenario in SCENARIOS)


def test_opening_and_the_first_calls_are_timed_apart(colours, workload: Workload) -> None:
    def slow():
        time.sleep(0.3)
        return colours(delay=0.1, learning=LEARNING)

    opened = open_contender(Contender("a", slow), workload.episode(2, 1), workload.queries[0])
    assert 0.3 <= opened.load < 0.4
    assert 2 * LEARNING <= opened.first["support"] < 0.1
    assert 0.1 <= opened.first["query"] < 0.2


def test_queries_are_taken_in_turn(colours, workload: Workload) -> None:
    seen = []

    class Watching(colours):
        def segment(self, image, states):
            seen.append(image)
            return super().segment(image, states)

    call = call_of("query", Watching(), workload.episode(1, 1), workload.queries)
    for number in range(6):
        call(number)
    images = [query.image for query in workload.queries]
    assert all(a is b for a, b in zip(seen, [*images, *images[:2]], strict=True))


def test_stages_are_those_of_the_segmenter_and_ours(colours, workload: Workload) -> None:
    supports = workload.episode(2, 1)
    stages = {
        scenario: set(call_of(scenario, colours(), supports, workload.queries)(0))
        for scenario in SCENARIOS
    }
    assert stages == {
        "support": {"learn"},
        "query": {"wait", "compare", "labels"},
        "episode": {"learn", "wait", "compare", "labels"},
    }


def test_reading_is_timed_when_it_is_asked_for(colours, workload: Workload) -> None:
    supports = workload.episode(2, 1)
    for item in [*supports["disc"], *workload.queries]:
        large = np.asarray(Image.fromarray(item.image).resize((60, 40)))
        Image.fromarray(large).save(item.path)
    for scenario in SCENARIOS:
        call = call_of(scenario, colours(), supports, workload.queries, decode=True)
        assert call(0)["read"] > 0
    # It is the file that is read, not the array in memory.
    workload.queries[0].path.unlink()
    with pytest.raises(Exception, match=r"q0\.png"):
        call_of("query", colours(), supports, workload.queries, decode=True)(0)
