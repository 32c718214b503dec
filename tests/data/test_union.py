"""Several data sets as one, among them DAVIS."""

import numpy as np
import pytest

from arnet.config import MemberConfig
from arnet.data import TrainingEpisodes, open_dataset
from arnet.data.davis import davis
from arnet.data.union import union
from arnet.inputs import open_split
from arnet.runtime.errors import DataError


def photograph(write_png, path, mask) -> None:
    write_png(path.with_suffix(".jpg"), np.zeros((*mask.shape, 3), np.uint8))


@pytest.fixture
def root(tmp_path, write_png):
    """A folder of ten photographs with two classes, and two sequences of six frames."""
    for n in range(10):
        mask = np.zeros((20, 30), np.uint8)
        mask[:10] = n % 2 + 1
        mask[19] = 255
        if n == 3:
            mask[10:15] = 1
        write_png(tmp_path / "cloth" / "images" / f"p{n}.jpg", np.zeros((20, 30, 3), np.uint8))
        write_png(tmp_path / "cloth" / "masks" / f"p{n}.png", mask)
    (tmp_path / "cloth" / "classes.txt").write_text("hat\nbelt\n")
    for sequence in ("swan", "bear"):
        for n in range(6):
            mask = np.zeros((16, 16), np.uint8)
            mask[: 4 + n] = 1
            write_png(tmp_path / "video" / sequence / f"{n:05}.png", mask)
            image = np.full((16, 16, 3), n, np.uint8)
            write_png(tmp_path / "video" / sequence / f"{n:05}.jpg", image)
    return tmp_path


MEMBERS = (
    MemberConfig(name="cloth", kind="folder", root="cloth", share=3),
    MemberConfig(name="video", kind="davis", root="video"),
)


def test_every_sequence_is_a_class(root) -> None:
    train = davis(root / "video", "train")
    assert train.class_names == {1: "bear", 2: "swan"}
    assert set(np.unique(train.mask("swan/00001"))) == {0, 2}
    assert (train.mask("bear/00001") == 1).sum() == 5 * 16
    assert not set(train.ids) & set(davis(root / "video", "val").ids)
    held = davis(root / "video", "val", 0)
    assert held.classes == (1,) and len(held.by_class[1]) == 6
    assert davis(root / "video", "train", 0).classes == (2,)


def test_the_least_share_of_a_frame_is_a_key(root, make_config) -> None:
    """The swan covers 4 to 9 of 16 rows."""
    overrides = ["data.kind=davis", f"data.root={root / 'video'}"]
    few = open_split(make_config(*overrides, "data.min_share=0.5"), "train")
    assert {i.split("/")[1] for i, _ in few.pairs} == {"00004", "00005"}
    assert len(open_split(make_config(*overrides), "train").pairs) == len(few.ids)


def test_davis_as_it_is_published(root, tmp_path) -> None:
    for path in sorted((root / "video").glob("*/*")):
        kind = "JPEGImages" if path.suffix == ".jpg" else "Annotations"
        place = tmp_path / "DAVIS" / kind / "480p" / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    plain, published = davis(root / "video"), davis(tmp_path / "DAVIS")
    assert published.ids == plain.ids and published.pairs == plain.pairs
    for name in plain.ids:
        np.testing.assert_array_equal(published.image(name), plain.image(name))
        np.testing.assert_array_equal(published.mask(name), plain.mask(name))


def test_a_frame_without_a_mask_is_named(root) -> None:
    (root / "video" / "swan" / "00002.png").unlink()
    with pytest.raises(DataError, match="1 frames have no mask, swan/00002"):
        davis(root / "video")
    with pytest.raises(DataError, match="holds no sequences"):
        davis(root / "cloth" / "images")


def test_classes_stand_side_by_side(root) -> None:
    found = union(root, members=MEMBERS)
    assert list(found.class_names.values()) == [
        "cloth/hat",
        "cloth/belt",
        "video/bear",
        "video/swan",
    ]
    assert set(np.unique(found.mask("video/swan/00001"))) == {0, 4}
    assert set(np.unique(found.mask("cloth/p1"))) == {0, 2, 255}
    assert found.image("video/bear/00003").max() == 3
    assert set(found.by_class[4]) == {i for i in found.ids if i.startswith("video/swan")}


def test_a_whole_member_is_held_out(root) -> None:
    options = {"members": MEMBERS, "held_out": ("video/*",), "novel": "drop"}
    train, val = union(root, "train", **options), union(root, "val", **options)
    assert not any(i.startswith("video") for i in train.ids)
    assert val.classes == (3, 4)
    # Nothing of them was trained on, so that all frames are there to evaluate on.
    assert len(val.by_class[3]) == len(val.by_class[4]) == 6
    assert val.mask("video/bear/00001").max() == 3


def test_images_of_a_held_out_class_move_to_val(root) -> None:
    options = {"members": MEMBERS, "held_out": ("cloth/hat",), "novel": "drop"}
    train, val = union(root, "train", **options), union(root, "val", **options)
    assert "cloth/p3" not in train.ids and "cloth/p3" in val.ids
    assert not set(train.ids) & set(val.ids)
    assert val.by_class[1] == [
        "cloth/p0",
        "cloth/p2",
        "cloth/p3",
        "cloth/p4",
        "cloth/p6",
        "cloth/p8",
    ]


def test_a_limit_spares_rare_classes(root) -> None:
    members = (MemberConfig(name="cloth", kind="folder", root="cloth", limit=2),)
    found = union(root, members=members)
    assert 2 <= len(found.by_class[1]) <= 3 and 2 <= len(found.by_class[2]) <= 3
    assert len(union(root, members=MEMBERS[:1]).by_class[1]) == 5
    assert union(root, members=members).ids == found.ids


def test_shares_decide_what_is_drawn(root) -> None:
    episodes = TrainingEpisodes(union(root, members=MEMBERS), seed=1)
    drawn = [episodes.draw(n).class_id for n in range(600)]
    cloth = sum(c <= 2 for c in drawn) / 600
    assert abs(cloth - 0.75) < 0.06  # without the shares it would be a half
    assert min(drawn.count(c) for c in (1, 2)) > 150


def test_the_year_of_coco_reaches_its_members(tmp_path) -> None:
    member = MemberConfig(name="coco", kind="coco")
    with pytest.raises(DataError, match="train2017 is missing"):
        union(tmp_path, members=[member], year=2017)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": ("video/fox",)}, "video/fox, which is no class"),
        ({"fold": 1}, "no fold 1"),
        ({"members": (MEMBERS[0], MEMBERS[0])}, "same name"),
    ],
)
def test_what_cannot_be_joined_is_told(root, change, message) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset("union", root, **({"members": MEMBERS} | change))
