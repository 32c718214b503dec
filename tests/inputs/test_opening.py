"""Data sets whose classes come to have other numbers, and the features that are kept of them."""

import numpy as np
import pytest
from PIL import Image

from arnet.data.folder import folder
from arnet.inputs import open_source, open_split
from arnet.inputs.opening import _name
from arnet.modeling import Backbone

MEMBERS = "data.members=[{name: film, kind: davis, root: film}]"


@pytest.fixture
def film(tmp_path):
    """Two sequences of six frames; a function that films another."""

    def add(sequence):
        folder = tmp_path / "film" / sequence
        folder.mkdir(parents=True)
        mask = np.zeros((40, 40), np.uint8)
        mask[:20] = 1
        for n in range(6):
            Image.fromarray(mask).save(folder / f"{n}.png")
            Image.fromarray(np.full((40, 40, 3), 9 * n, np.uint8)).save(folder / f"{n}.jpg")

    add("swan")
    add("walk")
    return add


@pytest.mark.parametrize(
    ("kind", "place", "prefix"), [("davis", "film", ""), ("union", "", "film/")]
)
def test_a_sequence_that_is_added_leaves_no_object_in_the_background(
    film, make_config, tmp_path, kind, place, prefix
):
    """The numbers of the others move on, also in the masks that are kept beside the features."""
    more = [MEMBERS] if kind == "union" else []
    overrides = [f"data.kind={kind}", f"data.root={tmp_path / place}", *more]
    config = make_config(*overrides, f"data.cache={tmp_path / 'cache'}")
    backbone = Backbone(config.model.backbone)

    def read(name):
        dataset = open_split(config, "train")
        (number,) = (c for c, called in dataset.class_names.items() if called == prefix + name)
        _, mask = open_source(config, dataset, backbone, False).read(f"{prefix}{name}/1")
        return number, set(np.unique(mask).tolist()) - {0, 255}

    assert read("walk") == (2, {2})
    film("bear")
    assert read("walk") == (3, {3})


def test_the_cache_of_pascal_is_found_where_it_was(make_config, shapes):
    """Its classes are always the same, and gigabytes would be computed anew."""
    config = make_config("data.kind=pascal", f"data.root={shapes}")
    assert _name(config, folder(shapes)) == f"pascal {shapes}"
    assert _name(make_config(f"data.root={shapes}"), folder(shapes)) != f"folder {shapes}"
