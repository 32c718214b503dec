"""``arnet infer --video``: one overlay, one results.json, with a bundle or a checkpoint."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av")


@pytest.fixture
def film(photograph: np.ndarray, tmp_path: Path) -> Path:
    """Eight frames, in the last three of which there is no disc."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.height, stream.width = photograph.shape[:2]
        stream.pix_fmt = "yuv420p"
        dark = np.full_like(photograph, 40)
        for number in range(8):
            image = photograph if number < 5 else dark
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.time_base, picture.pts = Fraction(1, 25), number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def test_a_video_becomes_an_overlay_and_results(
    run, bundle: Path, support: Path, film: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--bundle", bundle, "--support", support, "--video", film, "--out", out]
    finished = run("infer", *arguments, "--threads", 1)
    assert finished.code == 0, finished.err
    assert sorted(path.name for path in out.iterdir()) == ["film_overlay.mp4", "results.json"]
    with av.open(str(out / "film_overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
    found = json.loads((out / "results.json").read_text())
    assert found["model"]["kind"] == "bundle"
    assert [entry["class"] for entry in found["supports"]] == ["support"]
    (result,) = found["results"]
    assert (result["path"], result["width"], result["height"]) == (str(film), 60, 40)
    assert result["frames"] == 8
    assert result["times"] == [round(number / 25, 6) for number in range(8)]
    (segment,) = result["segments"]
    assert segment["label"] == "support"
    assert min(segment["areas"][:5]) > 100
    assert segment["areas"][5:] == [0, 0, 0]
    assert segment["mean_area"] == pytest.approx(np.mean(segment["areas"]))
    assert result["seconds"]["total"] > 0
    assert result["notes"] == []
    assert "film.mp4: 8 frames" in finished.out
    last = finished.out.splitlines()[-1]
    assert last.startswith("Next: ")
    assert last.endswith(str(out / "film_overlay.mp4"))


def test_the_masks_of_the_frames_are_written_where_they_are_wanted(
    run, bundle: Path, support: Path, film: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "out" / "film_masks"
    masks.mkdir(parents=True)
    for name in ("00008.png", "00009.png", "2024.png", "mine.png"):  # two of a longer video
        (masks / name).write_bytes(b"")
    arguments = ["--support", support, "--video", film, "--out", tmp_path / "out"]
    finished = run("infer", "--bundle", bundle, *arguments, "--masks")
    assert finished.code == 0, finished.err
    assert "film_masks/" in finished.out
    names = sorted(path.name for path in masks.iterdir())
    assert names == [*(f"0000{number}.png" for number in range(8)), "2024.png", "mine.png"]
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert result["masks"] == "film_masks"
    (segment,) = result["segments"]
    areas = segment["areas"]
    assert segment["value"] == 255
    for number, area in enumerate(areas):
        mask = np.asarray(Image.open(masks / f"{number:05}.png"))
        assert mask.shape == (40, 60) and set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).sum() == area
    assert areas[0] > 0


def test_the_masks_of_several_classes_have_the_values_that_are_listed(
    run, bundle: Path, support: Path, film: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(support, tmp_path / "other")
    both = ["--support", support, "--support", other, "--video", film, "--out", tmp_path / "out"]
    finished = run("infer", "--bundle", bundle, *both, "--masks")
    assert finished.code == 0, finished.err
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    values = {segment["label"]: segment["value"] for segment in result["segments"]}
    assert values == {"support": 1, "other": 2}
    assert " value " in finished.out
    mask = np.asarray(Image.open(tmp_path / "out" / "film_masks" / "00000.png"))
    assert set(np.unique(mask)) == {0, 1}  # of two that are equally sure, the first


def test_a_checkpoint_and_a_state_segment_videos_too(
    run, checkpoint: Path, bundle: Path, support: Path, query: Path, film: Path, tmp_path: Path
) -> None:
    arguments = ["--support", support, "--video", film, "--out", tmp_path / "out"]
    assert run("infer", "--checkpoint", checkpoint, *arguments).code == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["model"]["kind"] == "checkpoint"
    assert found["results"][0]["frames"] == 8
    kept = ["--save-state", tmp_path / "disc.npz"]
    assert run("infer", "--bundle", bundle, *arguments, *kept).code == 0
    learned = (tmp_path / "out" / "film_overlay.mp4").read_bytes()
    arguments = ["--state", tmp_path / "disc.npz", "--video", film, "--out", tmp_path / "out"]
    assert run("infer", "--bundle", bundle, *arguments).code == 0
    assert (tmp_path / "out" / "film_overlay.mp4").read_bytes() == learned


def test_what_was_left_out_is_told(
    run, bundle: Path, support: Path, film: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.mkv"
    with av.open(str(film)) as source, av.open(str(half), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
        fifth = bytes(packets[4])
    data = half.read_bytes()
    half.write_bytes(data[: data.index(fifth)])
    arguments = ["--bundle", bundle, "--support", support, "--out", tmp_path / "out"]
    finished = run("infer", *arguments, "--video", half)
    assert finished.code == 0, finished.err
    assert f"note: {half} breaks off after" in finished.out
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["results"][0]["notes"][0].startswith(f"{half} breaks off after")
    assert 0 < found["results"][0]["frames"] < 8


@pytest.mark.parametrize("option", ["--prob", "--figure"])
def test_what_is_written_for_photographs_only_is_refused(
    fails, bundle: Path, support: Path, film: Path, tmp_path: Path, option: str
) -> None:
    arguments = ["--bundle", bundle, "--support", support, "--video", film, option]
    message = fails("infer", *arguments, "--out", tmp_path / "out")
    assert f"{option} means nothing with --video" in message


def test_what_is_no_video_is_refused_before_anything_is_written(
    fails, bundle: Path, support: Path, query: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    arguments = ["--bundle", bundle, "--support", support, "--out", tmp_path / "out"]
    arguments += ["--save-state", tmp_path / "s.npz"]
    assert f"--query {query}" in fails("infer", *arguments, "--video", query)
    assert "text.mp4 is no video" in fails("infer", *arguments, "--video", tmp_path / "text.mp4")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "s.npz").exists()


def test_results_of_a_video_never_lie_among_the_supports(
    fails, bundle: Path, support: Path, film: Path
) -> None:
    before = sorted(support.iterdir())
    arguments = ["--bundle", bundle, "--support", support, "--video", film, "--out", support]
    assert "among the photographs" in fails("infer", *arguments)
    assert sorted(support.iterdir()) == before
