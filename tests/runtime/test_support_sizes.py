"""Annotations and photographs that are turned against each other."""

import json

import numpy as np
import pytest
from PIL import Image

from arnet.runtime.errors import AnnotationError
from arnet.runtime.supports import read_supports

MASK = np.zeros((8, 10), np.uint8)
MASK[2:5, 3:7] = 1
ON_ITS_SIDE = Image.Exif()
ON_ITS_SIDE[0x0112] = 6


def save(path, values, **options):
    Image.fromarray(values).save(path, **options)


def photograph(path, shape=(8, 10), **options):
    save(path, np.full((*shape, 3), 90, np.uint8), **options)


def mask(path):
    save(path.with_suffix(".png"), MASK.T.copy())


def labelme(path):
    points = [[3, 2], [7, 2], [7, 5]]
    shapes = [{"label": "cat", "shape_type": "polygon", "points": points}]
    size = {"imageWidth": 8, "imageHeight": 10}
    path.with_suffix(".json").write_text(json.dumps({"shapes": shapes, **size}))


def voc(path):
    size = "<size><width>8</width><height>10</height></size>"
    path.with_suffix(".xml").write_text(f"<annotation>{size}</annotation>")


@pytest.mark.parametrize("annotate", [mask, labelme, voc])
def test_exif_is_the_cause_only_where_there_is_such_a_tag(tmp_path, annotate):
    path = tmp_path / "a.jpg"
    annotate(path)
    for shape, options, cause in (
        ((10, 8), {"exif": ON_ITS_SIDE}, "turned by its EXIF orientation"),
        ((8, 10), {}, "Turn the one or the other by a quarter"),
    ):
        photograph(path, shape, **options)
        with pytest.raises(AnnotationError, match=r"8x10 pixels; the picture has 10x8") as caught:
            read_supports(tmp_path)
        assert cause in caught.value.hint
        assert ("EXIF" in caught.value.hint) == bool(options)


def test_exif_turns_the_photograph_and_the_mask_only_if_it_says_so(tmp_path):
    photograph(tmp_path / "a.jpg", (10, 8), exif=ON_ITS_SIDE)
    save(tmp_path / "a.png", MASK)
    [support] = read_supports(tmp_path)
    assert support.image.shape[:2] == support.mask.shape == (8, 10)
    save(tmp_path / "a.png", np.rot90(MASK).copy(), exif=ON_ITS_SIDE)
    np.testing.assert_array_equal(read_supports(tmp_path)[0].mask, MASK)
