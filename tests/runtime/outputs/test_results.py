"""Measurements of a mask by hand, and the document that is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from arnet.runtime.annotations import decode_rle
from arnet.runtime.errors import OutputError
from arnet.runtime.outputs.results import Result, Segment, write_results
from arnet.runtime.supports import Support
from arnet.version import __version__

MASK = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 255]], np.uint8)
MODEL = {"path": "runs/best", "sha256": "ab" * 32}
PROBABILITY = np.array([[0.4] * 4, [0.4, 0.6, 0.7, 0.4], [0.4, 0.8, 0.4, 0.9]], np.float32)


def test_segment():
    segment = Segment.from_mask("cat", MASK, PROBABILITY)
    assert segment.area == 3  # 255 is not object
    assert segment.score == pytest.approx(0.7)
    assert segment.score != pytest.approx(float(PROBABILITY.mean()))
    assert segment.bbox == (1, 1, 2, 2)
    np.testing.assert_array_equal(decode_rle(segment.rle), MASK == 1)
    assert Segment.from_mask("cat", MASK == 1) == Segment.from_mask("cat", MASK)
    assert Segment.from_mask("cat", MASK).score is None


def test_score_of_a_large_half_precision_mask():
    probability = np.full((700, 700), 0.75, np.float16)
    assert Segment.from_mask("cat", np.ones((700, 700)), probability).score == 0.75


def test_nothing_found():
    segment = Segment.from_mask("cat", np.zeros((3, 4), np.uint8), PROBABILITY)
    assert (segment.area, segment.score, segment.bbox) == (0, None, None)
    assert not decode_rle(segment.rle).any()


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ"):
        Segment.from_mask("cat", MASK, PROBABILITY.T)


def test_document(tmp_path):
    image = np.zeros((3, 4, 3), np.uint8)
    support = Support(Path("s/a.jpg"), image, MASK, "mask", "a.jpg: a.png (mask, 2 values)", None)
    segments = (
        Segment.from_mask("cat", MASK, PROBABILITY, 1),
        Segment.from_mask("dog", np.zeros_like(MASK), PROBABILITY, 2),
    )
    result = Result(Path("q.jpg"), (3, 4), segments, {"encode_query": 0.25, "decode": 0.5})
    write_results(tmp_path / "out/results.json", [result], {"cat": [support]}, MODEL)
    document = json.loads((tmp_path / "out/results.json").read_text())
    score = document["results"][0]["segments"][0].pop("score")
    assert score == pytest.approx(0.7)
    assert document == {
        "schema_version": 1,
        "producer": f"arnet {__version__}",
        "model": MODEL,
        "supports": [
            {
                "class": "cat",
                "path": "s/a.jpg",
                "kind": "mask",
                "label": None,
                "source": "a.jpg: a.png (mask, 2 values)",
            }
        ],
        "results": [
            {
                "path": "q.jpg",
                "width": 4,
                "height": 3,
                "segments": [
                    {
                        "label": "cat",
                        "value": 1,
                        "area": 3,
                        "bbox": [1, 1, 2, 2],
                        # Down the columns: 4 zeros, 2 ones, 1 zero, 1 one (1-2 = -1: 'O'), 4 zeros
                        # (4-1 = 3).
                        "rle": {"size": [3, 4], "counts": "421O3"},
                    },
                    {
                        "label": "dog",
                        "value": 2,
                        "area": 0,
                        "score": None,
                        "bbox": None,
                        "rle": {"size": [3, 4], "counts": "<"},
                    },
                ],
                "seconds": {"encode_query": 0.25, "decode": 0.5},
            }
        ],
    }


def test_a_failed_write_leaves_nothing(tmp_path):
    bad = Result(Path("q"), (1, 1), (), {"decode": np.nan})
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path / "r.json", [bad], {}, MODEL)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "r.json").mkdir()
    with pytest.raises(OutputError):
        write_results(tmp_path / "r.json", [], {}, MODEL)
