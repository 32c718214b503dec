"""A video comes out with the object tinted: as many frames, at their times, of their size."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from arnet.runtime.errors import AnnotationError, ImageError, OutputError
from arnet.runtime.outputs.drawing import PREDICTION_COLOUR, class_colour
from arnet.runtime.video import VideoWriter, overlay, segment_video, writer

RED, BLUE = (200, 40, 40), (40, 40, 200)
VARIED = ["0", "0.04", "0.3", "0.31", "0.5", "0.9", "1", "1.5", "1.6", "2"]

av = pytest.importorskip("av")


def tinted(colour, towards=PREDICTION_COLOUR):
    return np.rint((np.array(colour) + towards) / 2)


def test_the_object_is_tinted_in_every_frame(segmenter, learn, make_video, read, tmp_path):
    path, out = make_video(), tmp_path / "out" / "film.mp4"
    calls = []
    result = segment_video(
        segmenter, {"red": learn()}, path, out, lambda *numbers: calls.append(numbers)
    )
    assert calls == [(number, 10) for number in range(1, 11)]
    frames = read(out)
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(10)]
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.image[20, 15], tinted(RED), atol=12)
        np.testing.assert_allclose(frame.image[44, 60], 128, atol=4)
    assert (result.size, result.frames, result.notes) == ((48, 64), 10, ())
    assert all(100 < area < 1000 for area in result.areas["red"])
    assert result.mean_areas["red"] == np.mean(result.areas["red"])
    assert {"encode_image", "decode", "total"} <= result.seconds.keys()
    assert result.seconds["total"] > result.seconds["decode"] > 0


def test_what_is_not_there_is_not_painted(segmenter, learn, make_video, read, tmp_path):
    """Negative control: looked for in blue, a red square stays as it is."""
    out = tmp_path / "out.mp4"
    result = segment_video(segmenter, {"blue": learn(BLUE)}, make_video(), out)
    assert set(result.areas["blue"]) == {0}
    np.testing.assert_allclose(read(out)[0].image[20, 15], RED, atol=8)


def test_several_classes_have_colours_and_a_legend(segmenter, learn, make_video, read, tmp_path):
    out = tmp_path / "out.mp4"
    states = {"blue": learn(BLUE), "red": learn()}
    result = segment_video(segmenter, states, make_video(), out)
    assert list(result.areas) == ["blue", "red"]
    assert result.size == (48, 64)
    image = read(out)[0].image
    assert image.shape[0] > 60
    left = (image.shape[1] - 64) // 2  # the names may be wider than the picture
    np.testing.assert_allclose(image[20, left + 15], tinted(RED, class_colour(2)), atol=12)


def test_odd_sides_are_made_even_by_repeating_the_edge(
    segmenter, learn, make_video, read, tmp_path
):
    out = tmp_path / "out.mp4"
    result = segment_video(segmenter, {"red": learn()}, make_video(size=(47, 63)), out)
    assert result.size == (47, 63)
    image = read(out)[0].image.astype(int)
    assert image.shape == (48, 64, 3)
    assert np.abs(image[46] - image[47]).max() < 8
    assert np.abs(image[:, 62] - image[:, 63]).max() < 8


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
@pytest.mark.parametrize(
    ("name", "matrix", "expected"),
    [
        ("film.mp4", (1, 0, 0, 1), Fraction(16, 11)),
        ("film.mp4", (0, 1, -1, 0), Fraction(11, 16)),
        ("film.mp4", (-1, 0, 0, -1), Fraction(16, 11)),
        ("film.mkv", None, Fraction(16, 11)),
    ],
    ids=["upright", "right", "upside-down", "mkv"],
)
def test_an_anamorphic_video_is_not_squeezed(
    segmenter, learn, make_video, turn, tmp_path, monkeypatch, encoder, name, matrix, expected
):
    monkeypatch.setattr(writer, "ENCODERS", {encoder: writer.ENCODERS[encoder]})
    path, out = make_video(name, 3, aspect="16/11"), tmp_path / "out.mp4"
    if matrix is not None:
        turn(path, matrix)
    segment_video(segmenter, {"red": learn()}, path, out)
    with av.open(str(out)) as container:
        assert container.streams.video[0].sample_aspect_ratio == expected


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_times_are_kept_with_either_encoder(
    segmenter, learn, make_video, read, tmp_path, monkeypatch, encoder
):
    monkeypatch.setattr(writer, "ENCODERS", {encoder: writer.ENCODERS[encoder]})
    out = tmp_path / "out.mp4"
    segment_video(segmenter, {"red": learn()}, make_video(times=VARIED), out)
    found = [float(frame.time) for frame in read(out)]
    np.testing.assert_allclose(found, [float(time) for time in VARIED], atol=1 / 30_000)
    with av.open(str(out)) as container:
        codec = container.streams.video[0].codec_context.name
    assert codec == {"libx264": "h264", "mpeg4": "mpeg4"}[encoder]


def packets(path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        found = [p for p in container.demux(audio=0) if p.size]
        return [(round(float(p.pts * p.time_base), 3), bytes(p)) for p in found]


def test_sound_is_copied_as_it_is(segmenter, learn, make_video, tmp_path):
    path, out = make_video(sound="aac", count=50), tmp_path / "out.mp4"
    result = segment_video(segmenter, {"red": learn()}, path, out)
    assert len(packets(path)) > 10
    assert packets(out) == packets(path)
    assert result.notes == ()


def test_sound_lies_beside_the_pictures_of_its_moment(segmenter, learn, make_video, tmp_path):
    """Or a player would have to jump through the file."""
    path, out = make_video(sound="aac", count=500), tmp_path / "out.mp4"
    segment_video(segmenter, {"red": learn()}, path, out)
    with av.open(str(out)) as container:
        found = [
            (p.pos, p.stream.type, float(p.dts * p.time_base)) for p in container.demux() if p.size
        ]
    latest = {"video": 0.0, "audio": 0.0}
    for _, kind, time in sorted(found):
        latest[kind] = time
        assert abs(latest["video"] - latest["audio"]) < 2
    assert min(latest.values()) > 19


def test_sound_that_mp4_does_not_take_is_left_out_and_told(
    segmenter, learn, make_video, read, tmp_path
):
    path, out = (
        make_video("film.avi", sound="pcm_mulaw", time_base=Fraction(1, 25)),
        tmp_path / "out.mp4",
    )
    result = segment_video(segmenter, {"red": learn()}, path, out)
    assert result.notes == (f"The sound of {path} (pcm_mulaw) is left out: MP4 does not take it.",)
    assert packets(out) == []
    assert len(read(out)) == 10


def test_a_video_that_breaks_off_is_segmented_as_far_as_it_goes(
    segmenter, learn, make_video, read, tmp_path
):
    path, out = make_video("film.mkv", 60, noise=50), tmp_path / "out.mp4"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    result = segment_video(segmenter, {"red": learn()}, path, out)
    assert 10 < result.frames < 50
    assert len(read(out)) == result.frames
    assert "breaks off" in result.notes[0]


# Nothing half done.


def test_an_error_in_the_middle_leaves_the_old_file(segmenter, learn, make_video, tmp_path):
    path, out = make_video(), tmp_path / "out" / "film.mp4"
    out.parent.mkdir()
    out.write_bytes(b"old")

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_video(segmenter, {"red": learn()}, path, out, stop)
    assert [file.name for file in out.parent.iterdir()] == ["film.mp4"]
    assert out.read_bytes() == b"old"


def test_a_damaged_video_leaves_not_even_a_folder(segmenter, learn, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(ImageError):
        segment_video(
            segmenter, {"red": learn()}, tmp_path / "film.mp4", tmp_path / "out" / "film.mp4"
        )
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_an_error(segmenter, learn, make_video, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError):
        segment_video(segmenter, {"red": learn()}, make_video(), tmp_path / "taken" / "out.mp4")


@pytest.mark.parametrize("name", [None, "film.mp4"])
@pytest.mark.parametrize(
    ("path", "said"), [("none/out.mp4", "No such file"), ("/dev/full", "No space left")]
)
def test_a_writer_that_cannot_write_says_why(tmp_path, path, said, name):
    size, rate, name = (48, 64), Fraction(25), name and tmp_path / name
    with (
        pytest.raises(OutputError, match=said) as caught,
        VideoWriter(tmp_path / path, size, rate, 1 / rate, name=name) as failing,
    ):
        failing.write(np.zeros((48, 64, 3), np.uint8), Fraction(0))
    assert caught.value.message.startswith(f"{name or tmp_path / path} could not be written")


def test_an_error_of_writing_names_the_file_that_is_asked_for(
    segmenter, learn, make_video, tmp_path, monkeypatch
):
    """Not the temporary one; here the disk is full."""
    monkeypatch.setattr(
        overlay, "atomic_write", lambda path: contextlib.nullcontext(Path("/dev/full"))
    )
    out = tmp_path / "film_overlay.mp4"
    with pytest.raises(OutputError, match=f"^{re.escape(str(out))} could not be written: No space"):
        segment_video(segmenter, {"red": learn()}, make_video(), out)


@pytest.mark.parametrize("count", [0, 255])
def test_no_class_and_more_than_a_label_map_holds_are_refused(
    segmenter, learn, make_video, tmp_path, count
):
    states = dict.fromkeys(map(str, range(count)), learn())
    with pytest.raises(AnnotationError, match=f"{count} classes were given"):
        segment_video(segmenter, states, make_video(), tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


# Memory.

MEASURED = """
import resource, sys
import numpy as np
from pathlib import Path
from arnet.runtime.segmenter import Segmenter
from arnet.runtime.video import segment_video

segmenter = Segmenter.load(sys.argv[1], "onnx", threads=1)
image, mask = np.full((40, 40, 3), (200, 40, 40), np.uint8), np.ones((40, 40), np.uint8)
result = segment_video(segmenter, {"red": segmenter.learn([image], [mask])}, *sys.argv[2:])
print(result.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_length(shared_bundle, make_video, tmp_path):
    """A frame of 480x640 pixels has 0.9 MB: 270 more of them would be 250 MB."""
    peaks = []
    for count in (30, 300):
        path = make_video(f"{count}.mp4", count, size=(480, 640), sound="aac")
        command = [sys.executable, "-c", MEASURED, shared_bundle, path, tmp_path / "out.mp4"]
        finished = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=True
        )
        frames, kilobytes = map(int, finished.stdout.split())
        assert frames == count
        peaks.append(kilobytes / 1024)
    assert peaks[1] - peaks[0] < 50, peaks
