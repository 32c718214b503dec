"""What ``arnet infer`` writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.annotations import decode_rle

Infer = Callable[..., Any]


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_command_of_the_readme_works_in_a_process_of_its_own(
    checkpoint: Path, examples: Path, tmp_path: Path
) -> None:
    arguments = ["--support", examples / "horse", "--query", examples / "queries"]
    command = [sys.executable, "-m", "arnet", "infer", "--checkpoint", checkpoint, *arguments]
    finished = subprocess.run(
        [*map(str, command), "--out", "out"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""  # no progress bar where there is no terminal
    names = [path.stem for path in sorted((examples / "queries").iterdir())]
    masks = [f"{name}_{what}.png" for name in names for what in ("mask", "overlay")]
    assert written(tmp_path / "out") == sorted([*masks, "results.json"])
    for name in names:
        photograph = Image.open(examples / "queries" / f"{name}.jpg")
        mask = Image.open(tmp_path / "out" / f"{name}_mask.png")
        assert mask.mode == "L"
        assert mask.size == photograph.size
        assert set(np.unique(np.asarray(mask))) == {0, 255}
        assert Image.open(tmp_path / "out" / f"{name}_overlay.png").size == photograph.size


def test_results_json_says_what_was_found_with_what(
    infer: Infer, examples: Path, tmp_path: Path, checkpoint: Path
) -> None:
    infer(examples / "horse", examples / "queries" / "both.jpg")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["schema_version"] == 1
    assert found["model"]["kind"] == "checkpoint"
    assert found["model"]["input_size"] == 65
    assert len(found["model"]["sha256"]) == 64
    assert [s["kind"] for s in found["supports"]] == ["mask"] * 5
    assert {Path(s["path"]).name for s in found["supports"]} == {
        f"horse{n}.jpg" for n in range(1, 6)
    }
    (result,) = found["results"]
    assert (result["width"], result["height"]) == (384, 288)
    assert result["path"] == str(examples / "queries" / "both.jpg")
    assert {"read", "model", "total"} <= result["seconds"].keys()
    (segment,) = result["segments"]
    mask = read(tmp_path / "out" / "both_mask.png") == 255
    assert segment["label"] == "horse" and segment["value"] == 255
    assert segment["area"] == mask.sum()
    assert 0.5 < segment["score"] <= 1
    np.testing.assert_array_equal(decode_rle(segment["rle"]) == 1, mask)
    columns = np.flatnonzero(mask.any(axis=0))
    assert segment["bbox"][0] == columns[0]
    assert segment["bbox"][2] == columns[-1] - columns[0] + 1


def test_the_table_lists_photographs_and_the_last_line_is_a_command(
    infer: Infer, examples: Path, tmp_path: Path
) -> None:
    finished = infer(examples / "dog", examples / "queries")
    assert "dog: 5 supports" in finished.out
    assert "dog1.jpg: dog1.png (mask, 2 values, 21 % marked)" in finished.out
    assert "\nengine torch on " in finished.out
    assert all(f"{name}.jpg" in finished.out for name in ("both", "cats", "dogs", "horses"))
    # A picture in which it was found, not the first one.
    found = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    scores = {Path(r["path"]).stem: r["segments"][0]["score"] or 0 for r in found}
    best = max(scores, key=scores.__getitem__)
    assert best != next(iter(scores)) and len(set(scores.values())) > 1
    last = finished.out.splitlines()[-1]
    assert last.startswith("Next: ")
    assert last.endswith(str(tmp_path / "out" / f"{best}_overlay.png"))


def test_boxes_are_accepted_and_guide_otherwise_than_masks(
    infer: Infer, examples: Path, tmp_path: Path
) -> None:
    query = examples / "queries" / "horse.jpg"
    infer(examples / "horse", query, "--prob")
    masks = np.load(tmp_path / "out" / "horse_prob.npy")
    finished = infer(examples / "horse-boxes", query, "--prob")
    boxes = np.load(tmp_path / "out" / "horse_prob.npy")
    assert (
        "horse1.jpg: horse1.xml (Pascal VOC, 1 filled box, label horse, 30 % marked)"
        in finished.out
    )
    assert not np.array_equal(masks, boxes)


def test_annotation_box_reduces_masks_to_the_boxes_of_the_same_photographs(
    infer: Infer, examples: Path, tmp_path: Path
) -> None:
    infer(examples / "horse", examples / "queries" / "horse.jpg", "--annotation", "box")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [s["kind"] for s in found["supports"]] == ["box"] * 5


def test_prob_writes_probabilities_that_the_mask_follows_from(
    infer: Infer, examples: Path, tmp_path: Path
) -> None:
    infer(examples / "horse", examples / "queries" / "horse.jpg", "--prob")
    probability = np.load(tmp_path / "out" / "horse_prob.npy", allow_pickle=False)
    assert probability.dtype == np.float16
    assert probability.shape == (288, 384)
    mask = read(tmp_path / "out" / "horse_mask.png") == 255
    assert probability[mask].min() >= 0.5
    assert probability[~mask].max() <= 0.5


def test_figure_shows_every_support(infer: Infer, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for name in ("horse1.jpg", "horse1.png"):
        shutil.copy(examples / "horse" / name, tmp_path / "one")
    widths = []
    for support in (tmp_path / "one", examples / "horse"):
        infer(support, examples / "queries" / "horse.jpg", "--figure")
        widths.append(Image.open(tmp_path / "out" / "horse_figure.png").width)
    assert widths[1] > widths[0] > 300


def test_overlays_and_figures_are_compressed_fast_and_masks_well(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    infer(support, query, "--figure")
    levels = {}
    for path in (tmp_path / "out").glob("*.png"):
        data = path.read_bytes()
        # The two highest bits of the second byte of zlib's header.
        levels[path.stem.removeprefix("query_")] = data[data.index(b"IDAT") + 5] >> 6
    assert levels == {"mask": levels["mask"], "overlay": 0, "figure": 0}
    assert levels["mask"] >= 2


@pytest.fixture
def two_classes(examples: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "animals"
    for name in ("horse", "dog"):
        shutil.copytree(examples / name, folder / name)
    return folder


@pytest.mark.parametrize("labels", [["all"], ["dog", "horse"]])
def test_several_classes_give_one_label_map_and_one_segment_each(
    labels: list[str], infer: Infer, two_classes: Path, examples: Path, tmp_path: Path
) -> None:
    options = [word for label in labels for word in ("--label", label)]
    query = examples / "queries" / "both.jpg"
    finished = infer(two_classes, query, *options, "--prob", "--figure")
    assert [line.split()[1:3] for line in finished.out.splitlines() if "both.jpg" in line] == [
        ["dog", "1"],
        ["horse", "2"],
    ]
    mask = Image.open(tmp_path / "out" / "both_mask.png")
    assert mask.mode == "P"
    assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}
    assert np.load(tmp_path / "out" / "both_prob.npy").shape == (2, 288, 384)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    segments = found["results"][0]["segments"]
    assert [segment["label"] for segment in segments] == ["dog", "horse"]
    assert [segment["area"] for segment in segments] == [
        np.sum(np.asarray(mask) == segment["value"]) for segment in segments
    ]
    assert [segment["value"] for segment in segments] == [1, 2]
    one = Image.open(tmp_path / "out" / "both_figure.png").size
    infer(two_classes, query, "--label", "dog", "--figure")
    assert one[1] > 1.5 * Image.open(tmp_path / "out" / "both_figure.png").size[1]


def test_folders_of_several_classes_are_found_at_once(
    infer: Infer, run, checkpoint: Path, two_classes: Path, examples: Path, tmp_path: Path
) -> None:
    query, dog = examples / "queries" / "both.jpg", two_classes / "dog"
    infer(two_classes, query, "--label", "all")
    expected = read(tmp_path / "out" / "both_mask.png")
    finished = infer(dog, query, "--support", two_classes / "horse")
    assert "dog: 5 supports" in finished.out and "horse: 5 supports" in finished.out
    assert np.array_equal(read(tmp_path / "out" / "both_mask.png"), expected)
    common = ("infer", "--checkpoint", checkpoint, "--query", query, "--support", dog)
    twice = run(*common, "--support", examples / "dog")
    assert twice.code == 2 and "two folders hold the class dog" in twice.err
    chosen = run(*common, "--support", two_classes / "horse", "--label", "dog")
    assert chosen.code == 2 and "--label chooses among" in chosen.err
    assert "take every class of every folder with --label all" in chosen.err
    kept = run("infer", *common[3:], "--support", two_classes / "horse", "--save-state", "s.npz")
    assert kept.code == 2 and "give one --support" in kept.err


def test_folders_one_of_which_has_several_classes(
    infer: Infer, fails, checkpoint: Path, two_classes: Path, examples: Path, tmp_path: Path
) -> None:
    """What the error says can be done: to choose one would be refused of several folders."""
    (two_classes / "horse").rename(tmp_path / "mare")
    shutil.copytree(examples / "horse", two_classes / "horse")
    query = examples / "queries" / "both.jpg"
    arguments = ["--checkpoint", checkpoint, "--support", two_classes, "--query", query]
    said = fails("infer", *arguments, "--support", tmp_path / "mare")
    assert "has several labels: dog, horse" in said and "--label all" in said
    infer(two_classes, query, "--support", tmp_path / "mare", "--label", "all")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    labels = [segment["label"] for segment in found["results"][0]["segments"]]
    assert labels == ["dog", "horse", "mare"]


def test_one_label_of_a_folder_with_several_is_segmented_alone(
    infer: Infer, two_classes: Path, examples: Path, tmp_path: Path
) -> None:
    query = examples / "queries" / "both.jpg"
    infer(two_classes, query, "--label", "dog")
    chosen = read(tmp_path / "out" / "both_mask.png")
    infer(examples / "dog", query)
    np.testing.assert_array_equal(chosen, read(tmp_path / "out" / "both_mask.png"))


def test_size_changes_what_the_model_sees_and_not_what_is_written(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    infer(support, query, "--size", 97)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["model"]["input_size"] == 97
    assert read(tmp_path / "out" / "query_mask.png").shape == (40, 60)


def test_a_label_is_never_part_of_a_file_name(
    infer: Infer, support: Path, query: Path, tmp_path: Path
) -> None:
    points = [[20, 5], [50, 5], [50, 35], [20, 35]]
    shapes = [
        {"label": label, "shape_type": "polygon", "points": points, "group_id": None, "flags": {}}
        for label in ("../up", "thing")
    ]
    document = {"shapes": shapes, "imagePath": "a.png", "imageHeight": 40, "imageWidth": 60}
    (support / "a_mask.png").unlink()
    (support / "a.json").write_text(json.dumps(document))
    before = written(tmp_path)
    infer(support, query, "--label", "all", "--prob")
    assert written(tmp_path) == sorted([*before, "out"])


@pytest.mark.parametrize("out", ["animals", "animals/results"])
def test_results_never_become_a_class(
    fails, checkpoint: Path, two_classes: Path, query: Path, tmp_path: Path, out: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    arguments = ["--checkpoint", checkpoint, "--support", two_classes, "--label", "dog"]
    said = fails("infer", *arguments, "--query", query, "--out", tmp_path / out)
    assert "among the photographs" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["queries", "horse", "masks"])
def test_results_never_lie_among_the_photographs(
    fails, checkpoint: Path, examples: Path, tmp_path: Path, place: str
) -> None:
    """A mask written there would replace an annotation, or be taken for one the next time."""
    for folder in ("queries", "horse"):
        shutil.copytree(examples / folder, tmp_path / folder)
    out = tmp_path / "horse" / "masks" if place == "masks" else tmp_path / place
    before = sorted(tmp_path.rglob("*"))
    arguments = ["--checkpoint", checkpoint, "--support", tmp_path / "horse"]
    said = fails("infer", *arguments, "--query", tmp_path / "queries", "--out", out)
    assert "among the photographs" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("shots", [8, 9])
def test_supports_that_the_fusion_does_not_see_are_told(
    infer: Infer, support: Path, query: Path, tmp_path: Path, shots: int
) -> None:
    """Of nine supports one had no part in the vector that refines, in silence."""
    for number in range(1, shots):
        shutil.copy(support / "a.png", support / f"b{number}.png")
        shutil.copy(support / "a_mask.png", support / f"b{number}_mask.png")
    said = infer(support, query).out
    assert ("is fused from the last 8 of them" in said) == (shots == 9)
    assert ("note: support has 9 supports" in said) == (shots == 9)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["model"]["fused_shots"] == 8
