"""Every kind of photograph that ``arnet infer`` takes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from arnet.cli import inference
from arnet.runtime import decoding
from arnet.runtime.outputs.results import Result, Segment
from arnet.segmenter import TorchSegmenter

Infer = Callable[..., Any]


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_pattern_finds_the_queries(infer: Infer, examples: Path, tmp_path: Path) -> None:
    infer(examples / "horse", examples / "queries" / "h*.jpg")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [Path(r["path"]).name for r in found["results"]] == ["horse.jpg", "horses.jpg"]


def test_queries_are_joined_in_their_order_and_each_is_segmented_once(
    infer: Infer, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last one was segmented."""
    monkeypatch.chdir(examples)
    queries = examples / "queries"
    more = ["--query", "queries/../queries", "--query", "./queries/h*.jpg"]
    infer(examples / "horse", queries / "horses.jpg", "--query", "queries/both.jpg", *more)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    names = sorted(path.name for path in queries.iterdir())
    first = ["horses.jpg", "both.jpg"]
    expected = [*first, *(name for name in names if name not in first)]
    assert [Path(result["path"]).name for result in found["results"]] == expected


def test_a_pattern_over_folders_keeps_them(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    """Equal names in two folders were refused."""
    photographs = tmp_path / "photographs"
    names = ["may/1", "may/late/1", "2"]
    for name in names:
        path = photographs / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(query, path)
    finished = infer(support, f"{photographs}/**/*.png")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    masks = [result["mask"] for result in found["results"]]
    assert sorted(masks) == sorted(f"{name}_mask.png" for name in names)
    assert all((tmp_path / "out" / mask).is_file() for mask in masks)
    for name in names:
        assert f" {name}.png " in finished.out
    overlay = Path(finished.out.split()[-1])
    assert overlay.is_file() and overlay.is_relative_to(tmp_path / "out")


def test_one_bad_photograph_does_not_stop_the_others(
    fails: Callable[..., str],
    checkpoint: Path,
    support: Path,
    query: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of thousands, one that is damaged stopped the run, and all were read twice to know it."""
    folder = tmp_path / "queries"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        shutil.copy(query, folder / name)
    (folder / "b.png").write_bytes(query.read_bytes()[:-30])
    out = tmp_path / "out"
    arguments = ["--checkpoint", checkpoint, "--support", support, "--query", folder]
    message = fails("infer", *arguments, "--out", out)
    assert f"error: 1 of 3 photographs could not be read: {folder / 'b.png'} is damaged" in message
    assert f"those that could are in {out}" in message
    assert sorted(path.name for path in out.glob("*_mask.png")) == ["a_mask.png", "c_mask.png"]
    found = json.loads((out / "results.json").read_text())
    assert [Path(result["path"]).name for result in found["results"]] == ["a.png", "c.png"]
    (unread,) = found["unread"]
    assert unread["path"] == str(folder / "b.png") and "is damaged" in unread["error"]


def test_a_cutout_is_the_photograph_where_the_mask_is(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    infer(support, query, "--cutout")
    out = tmp_path / "out"
    cut, found = read(out / f"{query.stem}_cutout.png"), read(out / f"{query.stem}_mask.png") > 0
    assert found.any() and not found.all()
    np.testing.assert_array_equal(cut[..., 3], 255 * found)
    np.testing.assert_array_equal(cut[found][:, :3], read(query)[..., :3][found])
    assert not cut[~found].any()


def test_the_next_command_opens_a_picture_that_shows_something(
    infer: Infer, support: Path, query: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened the highest score, which a few pixels may have."""

    def result(name: str, area: int, score: float) -> Result:
        found = Segment("cup", area, score, (0, 0, 1, 1), {})
        return Result(Path(f"{name}.jpg"), (100, 100), (found,), {"total": 1.0}, name)

    done = [result("speck", 4, 0.99), result("most", 4000, 0.7), result("thing", 900, 0.8)]
    monkeypatch.setattr("arnet.runtime.inference.infer", lambda *arguments: done)
    finished = infer(support, query)
    assert finished.out.splitlines()[-1].endswith(f"{tmp_path}/out/thing_overlay.png")


def test_a_turned_photograph_gives_the_mask_of_the_upright_one(
    infer: Infer, examples: Path, tmp_path: Path
) -> None:
    upright = Image.open(examples / "queries" / "horse.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left of upright
    upright.save(tmp_path / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert Image.open(tmp_path / "turned.png").size == (288, 384)
    infer(examples / "horse", tmp_path / "*.png")
    masks = [read(tmp_path / "out" / f"{name}_mask.png") for name in ("turned", "upright")]
    assert masks[0].shape == (288, 384)  # rows, columns
    np.testing.assert_array_equal(*masks)


def one_pixel(image: Image.Image) -> Image.Image:
    return image.resize((1, 1))


def sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(128)
    return image


@pytest.mark.parametrize(
    ("change", "suffix", "mode"),
    [
        (one_pixel, ".png", "RGB"),
        (sixteen_bits, ".png", "I;16"),
        (lambda image: image.quantize(16), ".png", "P"),
        (with_alpha, ".png", "RGBA"),
        (lambda image: image.convert("LA"), ".png", "LA"),
        (lambda image: image.convert("1"), ".png", "1"),
        (lambda image: image.convert("CMYK"), ".jpg", "CMYK"),
    ],
    ids=["1x1", "16-bit", "palette", "alpha", "grey-alpha", "1-bit", "cmyk"],
)
def test_every_kind_of_photograph_is_segmented(
    change: Callable[[Image.Image], Image.Image],
    suffix: str,
    mode: str,
    infer: Infer,
    support: Path,
    photograph: np.ndarray,
    tmp_path: Path,
) -> None:
    path = tmp_path / f"query{suffix}"
    image = change(Image.fromarray(photograph))
    image.save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode  # the file is what the test is about
    infer(support, path)
    for name in ("query_mask.png", "query_overlay.png"):
        assert Image.open(tmp_path / "out" / name).size == image.size


def test_what_was_found_teaches_the_next_run(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    infer(support, query, "--coco")
    first = read(tmp_path / "out" / f"{query.stem}_mask.png")
    learned = tmp_path / "learned"
    learned.mkdir()
    shutil.copy(query, learned)
    shutil.copy(tmp_path / "out" / "annotations.json", learned)
    said = infer(learned, query).out
    assert "support: 1 support\n" in said  # the class has kept its name
    second = read(tmp_path / "out" / f"{query.stem}_mask.png")
    assert ((first > 0) & (second > 0)).sum() > 0.8 * (first > 0).sum() > 0


def test_a_cutout_keeps_what_the_colours_mean(
    infer: Infer, support: Path, photograph: np.ndarray, tmp_path: Path
) -> None:
    """Telephones and cameras do not all write sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = tmp_path / "wide.png"
    Image.fromarray(photograph).save(path, icc_profile=profile)
    infer(support, path, "--cutout")
    with Image.open(tmp_path / "out" / "wide_cutout.png") as cut:
        assert cut.info["icc_profile"] == profile


def test_a_photograph_of_a_telephone_is_segmented(
    infer: Infer, support: Path, photograph: np.ndarray, tmp_path: Path
) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pip install '.[heic]'")
    path = tmp_path / "IMG_1.HEIC"
    heif.from_pillow(Image.fromarray(photograph)).save(path, quality=100)
    infer(support, path)
    assert read(tmp_path / "out" / "IMG_1_mask.png").any()


def test_one_that_cannot_be_read_without_another_package_names_it(
    fails: Callable[..., str], support: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding._with_heif.cache_clear()
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    message = fails("infer", "--support", support, "--query", path, "--out", tmp_path / "out")
    decoding._with_heif.cache_clear()
    assert "pip install '.[heic]' reads this format" in message


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_photograph_of_100_megapixels_is_segmented_in_bounded_time(
    infer: Infer, support: Path, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(path)
    began = time.process_time()
    infer(support, path)
    assert time.process_time() - began < 120
    # Only the header: decoding takes its time too.
    assert Image.open(tmp_path / "out" / "large_mask.png").size == (10_000, 10_000)


def test_names_are_told_as_they_are(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    names = ["IMG_1 [edited].png", "[red]a:smile:.png"]
    for name in names:
        shutil.copy(query, folder / name)
    finished = infer(support.rename(tmp_path / "[b]cup"), folder)
    for name in (*names, "[b]cup"):
        assert name in "\n".join(finished.out.splitlines()[2:])  # in the table
    assert finished.out.splitlines()[-1].endswith(f"{tmp_path}/out/IMG_1 [edited]_overlay.png'")


def test_a_name_that_is_no_utf8_is_told_with_an_escape(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    path = folder / os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(query, path)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    finished = infer(support, folder)
    assert r"caf\udce9.png" in finished.out
    assert finished.out.splitlines()[-1].endswith(r"caf\udce9_overlay.png'")
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [entry["path"] for entry in found["results"]] == [str(path)]


def test_a_log_file_is_told_how_far_it_is_and_what_a_stopped_run_wrote(
    run: Callable[..., Any],
    checkpoint: Path,
    support: Path,
    query: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(query, folder / f"{name}.png")
    segment, asked = TorchSegmenter.segment, []

    def stopped(self: TorchSegmenter, *arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return segment(self, *arguments, **options)

    monkeypatch.setattr(TorchSegmenter, "segment", stopped)
    monkeypatch.setattr(inference, "_QUIET", 0.0)
    out = tmp_path / "out"
    arguments = ["--checkpoint", checkpoint, "--support", support, "--query", folder]
    finished = run("infer", *arguments, "--out", out)
    assert finished.code == 130
    assert "segmenting: 1 of 3 photographs, " in finished.err
    assert finished.err.endswith(f"stopped: 2 of 3 photographs are in {out}\n")
    assert len(json.loads((out / "results.json").read_text())["results"]) == 2
