"""What is asked for: its classes, their names and their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import AnnotationError, OutputError
from arnet.runtime.finding import Query
from arnet.runtime.inference import Learned, infer, learn, read_classes
from arnet.runtime.output_folder import check_out
from arnet.runtime.pictures import Outputs
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
        check_out(out, queries, supports, folders)
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
