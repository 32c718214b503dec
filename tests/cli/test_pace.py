"""Lines in place of a progress bar."""

from __future__ import annotations

from arnet.cli.pace import Pace


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_tenth_is_told_once() -> None:
    pace = Pace(clock=Clock())
    assert [n for n in range(1, 201) if pace.due(n, 200)] == list(range(20, 201, 20))


def test_a_run_that_goes_on_counts_from_where_it_was() -> None:
    clock = Clock()
    pace = Pace(100, clock)
    clock.now += 60
    assert pace.left(110, 200) == ", 9.0 minutes left"
    assert pace.left(100, 200) == pace.left(200, 200) == ""
    assert [n for n in range(101, 201) if pace.due(n, 200)] == [120, 140, 160, 180, 200]


def test_minutes_without_a_line_are_ended_by_one() -> None:
    clock = Clock()
    pace = Pace(0, clock)
    told = []
    for n in range(1, 13):
        clock.now += 60
        if pace.due(n, 1000):
            told.append(n)
    assert told == [5, 10]


def test_short_work_needs_no_line() -> None:
    clock = Clock()
    pace = Pace(clock=clock, quiet=10)
    told = []
    for n in range(1, 21):
        clock.now += 1
        if pace.due(n, 20):
            told.append(n)
    assert told == [10, 12, 14, 16, 18, 20]
