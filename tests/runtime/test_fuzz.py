"""Damaged input of every kind: it is read, or refused in words, and soon.

More than ten thousand inputs, the same ones each time. Bytes are damaged as transfers and editors
damage them; JSON is damaged in its structure, so that the damage gets past the JSON parser.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import CHANGES, EDITS, EXAMPLES, ODD, as_json, changed, damaged, fuzz, outcome
from hypothesis import strategies as st
from PIL import Image

from arnet.runtime.annotations import decode_rle, parse_json, parse_voc, read_label_names
from arnet.runtime.bundle import Bundle, Manifest
from arnet.runtime.bundle.contract import check_stages
from arnet.runtime.errors import ArnetError
from arnet.runtime.state import SupportState
from arnet.runtime.supports import read_supports

SIZE = (12, 16)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def test_there_are_ten_thousand_inputs() -> None:
    assert sum(EXAMPLES.values()) >= 10_000


# Bundles and states.


def read_manifest(data: bytes) -> Manifest:
    manifest = Manifest.from_json(data)
    assert Manifest.from_json(manifest.to_json()) == manifest
    check_stages(manifest)
    return manifest


@fuzz("manifest bytes", edits=EDITS)
def test_the_bytes_of_a_manifest(shared_bundle, edits) -> None:
    data = (shared_bundle / "manifest.json").read_bytes()
    outcome(lambda: read_manifest(damaged(data, edits)))


@fuzz("manifest values", changes=CHANGES)
def test_the_values_of_a_manifest(shared_bundle, changes) -> None:
    document = json.loads((shared_bundle / "manifest.json").read_bytes())
    outcome(lambda: read_manifest(as_json(changed(document, changes))))


@fuzz("zip", edits=EDITS)
def test_the_bytes_of_a_zip(shared_bundle, make_zip, place, edits) -> None:
    original = place / "original.zip"
    if not original.exists():
        make_zip(shared_bundle).rename(original)
    path = place / "bundle.zip"
    path.write_bytes(damaged(original.read_bytes(), edits))
    found = outcome(lambda: Bundle.open(path))
    if isinstance(found, Bundle):  # what was damaged did not matter: the content is the same
        assert found.sha256 == Bundle.open(shared_bundle).sha256


@fuzz("state", edits=EDITS)
def test_the_bytes_of_a_state(place, edits) -> None:
    original, path = place / "original.npz", place / "state.npz"
    match = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    if not original.exists():
        SupportState({"match": match}, {"refine": match[:1]}, "a" * 64).save(original)
    path.write_bytes(damaged(original.read_bytes(), edits))
    found = outcome(lambda: SupportState.load(path))
    if isinstance(found, SupportState):
        np.testing.assert_array_equal(found.per_shot["match"], match)


# Annotations.


def png(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


POLYGON = [[1, 1], [9, 2], [8, 9], [2, 8]]
LABELME = {
    "shapes": [
        {"label": "cat", "shape_type": "polygon", "points": POLYGON},
        {"label": "dog", "shape_type": "rectangle", "points": [[1, 1], [5, 4]]},
        {"label": "dog", "shape_type": "circle", "points": [[5, 5], [7, 5]]},
        {"label": "__ignore__", "shape_type": "mask", "points": [[1, 1], [3, 2]],
         "mask": png(np.ones((2, 3), np.uint8))},
    ],
    "imageHeight": 12, "imageWidth": 16,
}  # fmt: skip
RLE = {"size": list(SIZE), "counts": [50, 42, 100]}
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 16, "height": 12}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
    "annotations": [
        {"image_id": 1, "category_id": 3, "segmentation": [[1, 1, 9, 2, 8, 9]], "iscrowd": 0},
        {"image_id": 1, "category_id": 3, "segmentation": RLE, "iscrowd": 1},
        {"image_id": 1, "category_id": 4, "bbox": [2, 2, 5, 5]},
    ],
}
SA1B = {"image": COCO["images"][0], "annotations": [{"segmentation": RLE}, {"bbox": [1, 1, 2, 2]}]}
PROMPTS = [{"type": "rectangle", "data": [1, 1, 5, 5], "label": "cat"}]
VOC = b"""<annotation><size><width>16</width><height>12</height></size>
<object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>
</object><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>
</bndbox></object></annotation>"""


def check_annotations(path: Path, read: Callable[[], Any]) -> None:
    found = outcome(read)
    if isinstance(found, ArnetError):
        assert str(path) in found.message
    else:
        for annotation in found:
            assert annotation.mask.shape == SIZE and annotation.mask.dtype == np.uint8


@fuzz("labelme", changes=CHANGES, edits=st.one_of(st.none(), EDITS))
def test_labelme(place, changes, edits) -> None:
    path = place / "a.json"
    data = as_json(changed(LABELME, changes) if edits is None else LABELME)
    path.write_bytes(damaged(data, edits or []))
    check_annotations(path, lambda: parse_json(path, Path("a.jpg"), SIZE)[1])


@fuzz("coco", changes=CHANGES, kind=st.sampled_from(["coco", "sa1b", "prompts"]))
def test_coco_and_its_relatives(place, changes, kind) -> None:
    document = {"coco": COCO, "sa1b": SA1B, "prompts": PROMPTS}[kind]
    path = place / "a.json"
    path.write_bytes(as_json(changed(document, changes)))
    check_annotations(path, lambda: parse_json(path, Path("a.jpg"), SIZE)[1])


@fuzz("voc", edits=EDITS, word=st.sampled_from([str(value) for value in ODD]))
def test_voc(place, edits, word) -> None:
    path = place / "a.xml"
    key = edits[0][2][0] % 4
    number = [b"<xmin>2", b"<ymax>8", b"<width>16", b"<name>cat"][key]
    odd = number[: number.index(b">") + 1] + word.encode("utf-8", "replace")
    data = VOC.replace(number, odd)
    path.write_bytes(damaged(data, edits) if edits[0][1] < 0.5 else data)
    check_annotations(path, lambda: parse_voc(path, SIZE))


@fuzz(
    "rle",
    counts=st.one_of(
        st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40),
        st.text(max_size=6),
        st.lists(st.one_of(st.integers(-2, 200), st.sampled_from(ODD)), max_size=6),
        st.sampled_from(ODD),
        st.binary(max_size=6),
    ),
    size=st.one_of(
        st.just([12, 16]), st.lists(st.integers(-1, 300), max_size=3), st.sampled_from(ODD)
    ),
)
def test_run_lengths(counts, size) -> None:
    found = outcome(lambda: decode_rle({"size": size, "counts": counts}))
    if not isinstance(found, ArnetError):
        assert found.shape == tuple(int(side) for side in size)
        assert found.max(initial=0) <= 1


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": [10**3000, 10**3000], "counts": [1]},
        {"size": [12, 16], "counts": "o" * 10**6},
        {"size": [2**32, 2**32], "counts": []},
    ],
    ids=["huge", "beyond printing", "one endless length", "beyond 64 bits"],
)
def test_run_lengths_that_would_fill_the_memory(rle) -> None:
    assert isinstance(outcome(lambda: decode_rle(rle)), ArnetError)


@fuzz("names", edits=EDITS, text=st.text(max_size=30))
def test_label_names(place, edits, text) -> None:
    path = place / "labelmap.txt"
    data = b"# names\nbackground:0,0,0::\ncat:64,0,0::\n" + text.encode("utf-8", "replace")
    path.write_bytes(damaged(data, edits))
    outcome(lambda: read_label_names(path))


@fuzz("supports", edits=EDITS, kind=st.sampled_from(["png", "json", "xml", "coco", "txt"]))
def test_a_folder_of_supports(place, edits, kind) -> None:
    folder = place / kind
    mask = np.zeros(SIZE, np.uint8)
    mask[2:6, 3:9] = 255
    if not folder.exists():
        folder.mkdir()
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "a.jpg")
    name, data = {
        "png": ("a.png", base64.b64decode(png(mask))),
        "json": ("a.json", as_json(LABELME)),
        "xml": ("a.xml", VOC),
        "coco": ("annotations.json", as_json(COCO)),
        "txt": ("a.txt", b"3 0.1 0.1 0.9 0.1 0.5 0.9\n0 0.25 0.5 0.5 0.25\n"),
    }[kind]
    (folder / name).write_bytes(damaged(data, edits))
    outcome(lambda: read_supports(folder, "3" if kind == "txt" else "cat"))
