import json

import pytest

from arnet.training.log import TrainingLog


@pytest.fixture
def lines(tmp_path):
    def read():
        return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    return read


def write(folder, iteration, numbers):
    with TrainingLog(folder, iteration) as log:
        for number in numbers:
            log.write("train", number, total=0.5 * number, s=None)


def test_a_line_for_each_call_without_what_is_none(tmp_path, lines):
    write(tmp_path, 0, [1, 2])
    assert lines() == [
        {"kind": "train", "iteration": 1, "total": 0.5},
        {"kind": "train", "iteration": 2, "total": 1.0},
    ]


def test_a_resumed_run_drops_what_was_after_its_state(tmp_path, lines):
    write(tmp_path, 0, [1, 2, 3, 4, 5])
    write(tmp_path, 3, [4, 5, 6])
    assert [line["iteration"] for line in lines()] == [1, 2, 3, 4, 5, 6]


def test_half_a_line_of_a_killed_run_goes(tmp_path, lines):
    write(tmp_path, 0, [1, 2])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "itera')
    write(tmp_path, 2, [3])
    assert [line["iteration"] for line in lines()] == [1, 2, 3]


def test_lines_can_be_followed_while_they_come(tmp_path, lines):
    with TrainingLog(tmp_path, 0) as log:
        log.write("validation", 7, q2=31.5)
        assert lines() == [{"kind": "validation", "iteration": 7, "q2": 31.5}]


def test_tensorboard_has_the_numbers_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path, 0, [1, 2, 3])
    write(tmp_path, 2, [3, 4])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/total")] == [1, 2, 3, 4]
