"""What is asked for: its classes, their names and their number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import AnnotationError, OutputError
from arnet.runtime.finding import Query, find_queries
from arnet.runtime.inference import Learned, infer, learn, read_classes
from arnet.runtime.outputs.folder import check_out
from arnet.runtime.outputs.pictures import Outputs
from arnet.runtime.segmenter import Segmenter
from arnet.runtime.state import SupportState


@pytest.fixture(scope="session")
def segmenter(shared_bundle) -> Segmenter:
    return Segmenter.load(shared_bundle, "onnx", threads=1)


@pytest.fixture
def supports(tmp_path) -> Path:
    """A photograph with a mask, which gives its class no name."""
    folder = tmp_path / "cups"
    folder.mkdir()
    Image.new("RGB", (30, 20), "red").save(folder / "a.jpg")
    Image.new("L", (30, 20), 255).save(folder / "a.png")
    return folder


@pytest.fixture
def state(segmenter, photograph) -> SupportState:
    image, mask = photograph((200, 40, 40))
    return segmenter.learn([image], [mask])


@pytest.mark.parametrize("labels", [[], ["all"]])
def test_a_class_without_a_name_is_called_like_its_folder(supports, labels, monkeypatch):
    assert list(read_classes(supports, labels, "as-is")) == ["cups"]
    monkeypatch.chdir(supports)
    assert list(read_classes(Path(), labels, "as-is")) == ["cups"]


@pytest.mark.parametrize("labels", [[], ["all"]])
def test_a_class_with_a_name_keeps_it_even_if_it_is_object(supports, labels):
    (supports / "a.png").unlink()
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    size = "<size><width>30</width><height>20</height></size>"
    for name in ("object", "cup"):
        found = f"<object><name>{name}</name>{box}</object>"
        (supports / "a.xml").write_text(f"<annotation>{size}{found}</annotation>")
        assert list(read_classes(supports, labels, "as-is")) == [name]


@pytest.mark.parametrize("count", [0, 255])
def test_no_class_and_more_than_a_label_map_holds_are_refused(
    segmenter, supports, state, tmp_path, count
):
    names = [str(number) for number in range(count)]
    found = read_classes(supports, [], "as-is")["cups"]
    with pytest.raises(AnnotationError, match=f"{count} classes were given"):
        learn(segmenter, dict.fromkeys(names, found))
    with pytest.raises(AnnotationError, match="a label map holds 1 to 254"):
        infer(
            segmenter,
            Learned(dict.fromkeys(names, state), {}, {}),
            [Query.of(supports / "a.jpg")],
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_254_classes_have_a_number_each(segmenter, supports, state, tmp_path):
    query = tmp_path / "query.png"
    Image.new("RGB", (30, 20), (200, 40, 40)).save(query)
    names = [str(number) for number in range(254)]
    # Nothing is blue but the last class finds red: its number must not be lost.
    blue = segmenter.learn(
        [np.full((20, 30, 3), (40, 40, 200), np.uint8)], [np.ones((20, 30), np.uint8)]
    )
    states = dict.fromkeys(names, blue) | {names[-1]: state}
    infer(segmenter, Learned(states, {}, {}), [Query.of(query)], tmp_path / "out")
    mask = np.asarray(Image.open(tmp_path / "out" / "query_mask.png"))
    assert set(np.unique(mask)) == {254}


def test_an_object_that_vanishes_is_told_with_its_photograph(segmenter, tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (400, 300), "red").save(tmp_path / f"{name}.jpg")
        Image.new("L", (400, 300), 255 * (name == "a")).save(tmp_path / f"{name}.png")
    mask = np.zeros((300, 400), np.uint8)
    mask[1:4, 1:5] = 255
    Image.fromarray(mask).save(tmp_path / "b.png")
    found = read_classes(tmp_path, [], "as-is")
    with pytest.raises(AnnotationError) as caught:
        learn(segmenter, found)
    assert caught.value.message.startswith(f"{tmp_path / 'b.jpg'}: its object of 4x3 pixels")
    assert "Cut the photograph" in caught.value.hint


def test_a_figure_needs_the_supports(segmenter, supports, state, tmp_path):
    learned = Learned({"cups": state}, {}, {})
    query = Query.of(supports / "a.jpg")
    with pytest.raises(AnnotationError, match="a figure shows the supports"):
        infer(segmenter, learned, [query], tmp_path / "out", Outputs(figure=True))
    assert not (tmp_path / "out").exists()


def refused(out: Path, queries: list[Path], *folders: Path) -> bool:
    """Whether results may not lie in a folder, by what is read from others."""
    supports = {}
    for folder in folders:
        supports |= read_classes(folder, ["all"], "as-is")
    try:
        check_out(out, [Query.of(path) for path in queries], supports, folders)
    except OutputError as error:
        assert "among the photographs" in error.message and error.hint
        return True
    return False


def test_results_never_lie_in_a_support_folder_whose_pictures_are_in_images(supports):
    for name, file in (("images", "a.jpg"), ("masks", "a.png")):
        (supports / name).mkdir()
        (supports / file).rename(supports / name / file)
    for out in (supports, supports / "images", supports / "masks"):
        assert refused(out, [], supports)
    for out in (supports / "results", supports.parent):
        assert not refused(out, [], supports)
    query = supports / "images" / "a.jpg"
    assert refused(supports, [query])
    assert not refused(supports.parent, [query])


def test_results_never_lie_among_subsets(supports):
    for name, file in (("images", "a.jpg"), ("masks", "a.png")):
        (supports / name / "train").mkdir(parents=True)
        (supports / file).rename(supports / name / "train" / file)
    for out in ("", "images", "images/train", "masks", "masks/train"):
        assert refused(supports / out, [], supports)
        assert refused(supports / out, [supports / "images" / "train" / "a.jpg"])
    assert not refused(supports / "results", [], supports)
    assert not refused(supports / "masks.old", [], supports)


def test_results_never_lie_there_however_its_folders_are_capitalised(supports):
    for name, file in (("Images", "a.jpg"), ("Masks", "a.png")):
        (supports / name).mkdir()
        (supports / file).rename(supports / name / file)
    query = supports / "Images" / "a.jpg"
    for out in (supports, supports / "Images", supports / "Masks"):
        assert refused(out, [], supports) and refused(out, [query])
    assert not refused(supports / "results", [query])


def test_results_never_become_a_class(supports, tmp_path):
    supports.rename(tmp_path / "cup")
    (tmp_path / "things").mkdir()
    cup = (tmp_path / "cup").rename(tmp_path / "things" / "cup")
    for out in ("", "cup", "results", "results/today"):
        assert refused(tmp_path / "things" / out, [], tmp_path / "things")
    assert not refused(tmp_path, [], tmp_path / "things")
    # The folder above is none of the input, and may hold anything.
    assert refused(cup, [], cup)
    assert not refused(tmp_path / "things" / "results", [], cup)


def test_results_never_lie_among_links_to_photographs(supports, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "a.jpg").symlink_to(supports / "a.jpg")
    for out in (links, supports):
        assert refused(out, [links / "a.jpg"])
    assert not refused(tmp_path, [links / "a.jpg"])


def searched(pattern: Path, out: Path, folder: Path | None = None) -> str:
    """What is said of results of a pattern that searches folders; nothing if they may lie there."""
    supports = {} if folder is None else read_classes(folder, ["all"], "as-is")
    try:
        check_out(out, find_queries([str(pattern)]), supports, [] if folder is None else [folder])
    except OutputError as error:
        return error.message
    return ""


def test_the_folders_of_a_pattern_are_none_of_the_input_either(supports, tmp_path):
    """results/cups/a_mask.png would have been written over the annotation of another photograph."""
    pattern = tmp_path / "**" / "*.jpg"
    assert f"among the photographs and masks in {tmp_path}/cups" in searched(pattern, tmp_path)
    other = tmp_path / "other" / "cups"
    other.mkdir(parents=True)
    (supports / "a.jpg").rename(other / "b.jpg")
    Image.new("RGB", (30, 20), "red").save(supports / "a.jpg")
    beside = tmp_path / "other" / "**" / "*.jpg"
    assert "among the photographs" in searched(beside, tmp_path, supports)
    assert not searched(beside, tmp_path / "results", supports)


def test_results_of_an_earlier_run_are_not_segmented(tmp_path):
    place = tmp_path / "photographs" / "may"
    place.mkdir(parents=True)
    Image.new("RGB", (30, 20), "red").save(place / "a.png")
    pattern, out = tmp_path / "photographs" / "**" / "*.png", tmp_path / "photographs" / "out"
    assert not searched(pattern, out)
    (out / "may").mkdir(parents=True)
    (place / "a.png").rename(out / "may" / "a_mask.png")
    assert f"a_mask.png lies in {out}" in searched(pattern, out)


class Stops:
    """A segmenter that fails at its second photograph."""

    def __init__(self, segmenter: Segmenter, error: BaseException) -> None:
        self.describe = segmenter.describe
        self._segmenter = segmenter
        self._errors = [error]

    def segment(self, image, states, **options):
        if len(self._errors) == 2:
            raise self._errors[0]
        self._errors.append(None)
        return self._segmenter.segment(image, states, **options)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutputError("the disk is full")])
def test_what_a_run_that_is_stopped_has_written_is_in_its_results(
    segmenter, supports, state, tmp_path, error
):
    queries = []
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (30, 20), (200, 40, 40)).save(path)
        queries.append(Query.of(path))
    out = tmp_path / "out"
    with pytest.raises(type(error)):
        infer(Stops(segmenter, error), Learned({"cups": state}, {}, {}), queries, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "a_mask.png",
        "a_overlay.png",
        "results.json",
    ]
    (found,) = json.loads((out / "results.json").read_text())["results"]
    assert found["path"] == str(tmp_path / "a.png") and found["mask"] == "a_mask.png"
