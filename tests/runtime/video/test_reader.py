"""Frames come upright with their time stamps; what cannot be read is told."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import ImageError, MissingDependencyError
from arnet.runtime.video import VideoReader

VARIED = ["0", "0.04", "0.3", "0.31", "0.5", "0.9", "1", "1.5", "1.6", "2"]


def test_frames_are_those_that_were_written(make_video, read, square):
    path = make_video()
    with VideoReader(path) as reader:
        assert (reader.length, reader.rate, reader.damage) == (10, 25, [])
        found = list(reader)
        assert reader.damage == []
    assert [frame.time for frame in found] == [Fraction(number, 25) for number in range(10)]
    for number, frame in enumerate(found):
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - square(number)).mean() < 3
    assert np.abs(found[0].image.astype(int) - square(5)).mean() > 6  # they do move


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_varying_frame_rate_keeps_its_times(make_video, read, name):
    found = [float(frame.time) for frame in read(make_video(name, times=VARIED))]
    np.testing.assert_allclose(found, [float(time) for time in VARIED], atol=0.001)


def test_times_count_from_the_start_of_the_file(make_video, read):
    path = make_video("film.ts", times=[str(5 + number / 10) for number in range(10)])
    found = [float(frame.time) for frame in read(path)]
    np.testing.assert_allclose(found, np.arange(10) / 10, atol=0.001)


def test_pictures_without_times_follow_each_other_at_the_mean_rate(make_video, read):
    with VideoReader(make_video("film.h264")) as reader:
        found = [frame.time for frame in reader]
        assert found == [number / reader.rate for number in range(10)]


@pytest.mark.parametrize(
    ("matrix", "quarters"),
    [((0, 1, -1, 0), -1), ((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2), ((1, 0, 0, 1), 0)],
    ids=["right", "left", "upside-down", "upright"],
)
def test_a_turned_video_is_read_upright(make_video, turn, read, square, matrix, quarters):
    path = make_video()
    turn(path, matrix)
    found = read(path)[0].image
    expected = np.rot90(square(0), quarters)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3
    assert np.abs(found.astype(int) - np.rot90(expected, 2)).mean() > 10


def test_a_title_that_is_not_utf_8_does_no_harm(make_video, read):
    path = make_video("film.mkv")
    data = path.read_bytes()
    assert b"Lavf" in data  # the name of the program that wrote it
    path.write_bytes(data.replace(b"Lavf", b"\xe9\xff\xe9\xff"))
    assert len(read(path)) == 10


def test_odd_sides_stay_odd(make_video, read):
    assert read(make_video(size=(47, 63)))[0].image.shape == (47, 63, 3)


# Damage.


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi"])
def test_a_video_that_breaks_off_gives_what_it_has_and_says_so(make_video, read, name):
    options = {"movflags": "faststart"} if name == "film.mp4" else {}
    path = make_video(name, 60, time_base=Fraction(1, 25), noise=50, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with VideoReader(path) as reader:
        found = list(reader)
        assert 10 < len(found) < 55
        (said,) = [note for note in reader.damage if "breaks off" in note]
        end = float(found[-1].time + 1 / reader.rate)
        assert said.startswith(f"{path} breaks off after {end:.1f} of 2.4 seconds")
    path.write_bytes(whole)
    with VideoReader(path) as reader:
        assert len(list(reader)) == 60
        assert reader.damage == []


def test_sound_that_is_longer_than_the_pictures_is_no_damage(make_video):
    path = make_video("film.mkv", sound="aac")
    with VideoReader(path) as reader:
        list(reader)
        assert reader.damage == []


def test_damaged_packets_are_left_out_and_counted(make_video):
    av = pytest.importorskip("av")
    path = make_video(count=40)
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in places[10:12]:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    with VideoReader(path) as reader:
        assert 25 < len(list(reader)) < 40
        assert reader.damage == [f"{path} is damaged: 2 packets were left out."]


def test_a_video_without_its_index_is_damaged(make_video):
    path = make_video()
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov")])
    with pytest.raises(ImageError, match="damaged") as caught:
        VideoReader(path)
    assert "ffmpeg -i" in caught.value.hint


def test_a_video_of_which_nothing_decodes_is_an_error(make_video, read):
    av = pytest.importorskip("av")
    path = make_video(count=3)
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in places:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(ImageError, match="not one frame could be decoded"):
        read(path)


# What is no video.


def test_what_is_no_video_is_told(tmp_path):
    pytest.importorskip("av")
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "photograph.mp4").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("a film" * 100)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n")
    for name, said in (
        ("a.png", "is a photograph"),
        ("photograph.mp4", "is a photograph"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is no video"),
        ("list.m3u8", "is no video"),
        ("none.mp4", "does not exist"),
        (".", "is a folder"),
    ):
        with pytest.raises(ImageError) as caught:
            VideoReader(tmp_path / name)
        assert said in caught.value.message
        assert str(tmp_path / name) in caught.value.message
        assert caught.value.hint


def test_sound_alone_is_no_video(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        track = container.add_stream("aac", 8000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 3200), np.int16), "s16", "mono")
        tone.sample_rate = 8000
        container.mux(track.encode(tone))
        container.mux(track.encode())
    with pytest.raises(ImageError, match="has no pictures, only audio"):
        VideoReader(path)


def test_without_pyav_the_extra_is_named(make_video, monkeypatch):
    path = make_video()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError) as caught:
        VideoReader(path)
    assert caught.value.hint == "in a checkout of arnet: pip install '.[video]'"
