import numpy as np
import pytest

from arnet.data import open_dataset
from arnet.data.folder import folder, read_classes
from arnet.runtime.annotations import read_label_names
from arnet.runtime.errors import DataError, ImageError


@pytest.fixture
def root(tmp_path, write_png):
    """Ten photographs; number n shows class n % 4 + 1 in half of its pixels."""
    for n in range(10):
        mask = np.zeros((20, 30), np.uint8)
        mask[:10] = n % 4 + 1
        write_png(tmp_path / "images" / f"p{n}.jpg", np.full((20, 30, 3), 10 * n, np.uint8))
        write_png(tmp_path / "masks" / f"p{n}.png", mask)
    (tmp_path / "classes.txt").write_text("0 null\n1 hat\n2 belt\n3 long coat\n4 shoe\n")
    return tmp_path


def test_a_fifth_of_the_photographs_is_for_val(root):
    train, val = folder(root, "train"), folder(root, "val")
    # And p7 by its hash, but long coats and shoes have two photographs each, for the training.
    assert val.ids == ["p0", "p9"], "another rule moves the photographs of everybody's folders"
    assert len(train.ids) == 8 and not set(train.ids) & set(val.ids)
    assert train.class_names == {1: "hat", 2: "belt", 3: "long coat", 4: "shoe"}
    assert train.by_class[2] == ["p1", "p5"]
    assert folder(root, "val", by="place").ids == ["p0", "p5"]


def test_a_photograph_that_is_added_is_not_validated_on_in_place_of_another(root, write_png):
    before = folder(root, "val").ids
    write_png(root / "images" / "a.jpg", np.zeros((20, 30, 3), np.uint8))
    write_png(root / "masks" / "a.png", np.full((20, 30), 1, np.uint8))
    assert [i for i in folder(root, "val").ids if i != "a"] == before
    assert folder(root, "val", by="place").ids == ["a", "p4", "p9"]


def test_lists_decide_where_they_are(root):
    (root / "train.txt").write_text("p3.jpg\np1\n")
    (root / "val.txt").write_text("p2\n")
    assert folder(root, "train").ids == ["p3", "p1"]
    assert folder(root, "val").ids == ["p2"]
    (root / "val.txt").write_text("p2\nabsent\n")
    with pytest.raises(DataError, match="absent"):
        folder(root, "val")
    (root / "val.txt").unlink()
    with pytest.raises(DataError, match=r"train\.txt but not the other"):
        folder(root, "train")


def test_novel_classes_by_name_and_by_fold(root):
    val = folder(root, "val", held_out=("belt", "hat"))
    assert val.classes == (1, 2) and val.pairs == [("p0", 1), ("p9", 2)]
    train = folder(root, "train", held_out=("long coat",))
    assert not train.mask("p2").any() and "p2" in train.ids
    assert "p2" not in folder(root, "train", novel="drop", held_out=("long coat",)).ids
    assert folder(root, "val", 1, folds=2).classes == (2, 4)
    assert folder(root, "train", 1, folds=2).classes == (1, 3)
    with pytest.raises(DataError, match="lacks: glove"):
        folder(root, held_out=("glove",))
    with pytest.raises(DataError, match="both fold 0 and held_out"):
        folder(root, fold=0, held_out=("hat",))


def test_small_objects_make_no_pair(root):
    assert folder(root, min_share=0.5).pairs
    assert not folder(root, min_share=0.51).pairs


def test_missing_masks_are_named(root):
    (root / "masks" / "p1.png").unlink()
    (root / "masks" / "p2.png").unlink()
    with pytest.raises(DataError, match=r"2 masks .* missing: p1\.png, p2\.png") as caught:
        folder(root)
    assert "masks/NAME.png" in caught.value.hint


def test_unequal_sizes_are_named(root, write_png):
    write_png(root / "masks" / "p1.png", np.zeros((30, 20), np.uint8))
    with pytest.raises(DataError, match=r"p1 \(photograph 30x20, mask 20x30\)"):
        folder(root)


def test_index_that_is_no_class_is_named(root, write_png):
    write_png(root / "masks" / "p1.png", np.full((20, 30), 77, np.uint8))
    with pytest.raises(DataError, match=r"p1 \(77\)"):
        folder(root)


def test_a_photograph_that_is_a_link_to_nothing_is_named(root):
    (root / "images" / "p1.jpg").unlink()
    (root / "images" / "p1.jpg").symlink_to("gone.jpg")
    with pytest.raises(ImageError, match=r"p1\.jpg is a link to gone\.jpg"):
        folder(root)


@pytest.fixture
def marked(root, write_png):
    """The same photographs with masks as ``arnet infer`` writes them, for one class."""
    for n in range(10):
        mask = np.zeros((20, 30), np.uint8)
        mask[:10] = 255
        write_png(root / "masks" / f"p{n}.png", mask)
    (root / "classes.txt").write_text("3 hat")
    return root


def test_masks_of_infer_show_the_only_class(marked):
    for split, images in (("train", 7), ("val", 3)):
        dataset = folder(marked, split)
        assert [c for _, c in dataset.pairs] == [3] * images
        # What the cache of features reads, too.
        assert set(np.unique(dataset.source.mask(dataset.ids[0]))) == {0, 3}
        assert "hold 255 and no class number: taken as hat" in dataset.note


def test_255_is_ignored_where_masks_of_either_split_have_a_number(marked, write_png):
    """Also in the scans: the one that was kept before is not that of other masks beside it."""
    cache = marked / "cache"
    before = (marked / "masks" / "p0.png").read_bytes()
    for name in ("p0", "p5", "p6", "p7", "p8"):
        write_png(marked / "masks" / f"{name}.png", np.full((20, 30), 3, np.uint8))
    dataset = folder(marked, "train", cache_dir=cache)
    assert {i for i, _ in dataset.pairs} == {"p5", "p6", "p8"} and not dataset.note
    assert set(np.unique(dataset.source.mask("p1"))) == {0, 255}
    for name in ("p0", "p5", "p6", "p7", "p8"):
        (marked / "masks" / f"{name}.png").write_bytes(before)
    assert len(folder(marked, "train", cache_dir=cache).pairs) == 7


def test_masks_of_one_class_are_read_once_for_both_splits(marked, monkeypatch):
    folder(marked, "train", cache_dir=marked / "cache")
    monkeypatch.setattr("arnet.data.files.read_mask", lambda path: pytest.fail(f"{path} is read"))
    dataset = folder(marked, "val", cache_dir=marked / "cache")
    assert len(dataset.pairs) == 3 and dataset.note


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("value", [3, 254, 128])
def test_one_soft_pixel_does_not_make_every_object_unknown(marked, write_png, split, value):
    mask = np.zeros((20, 30), np.uint8)
    mask[:10] = 255
    mask[9, :5] = value
    write_png(marked / "masks" / "p1.png", mask)
    with pytest.raises(DataError, match=r"9 masks in .* alone, and 1 also other values") as caught:
        folder(marked, split)
    assert "save all masks with 0 and 255 only" in caught.value.hint


def test_masks_that_do_not_tell_which_class_they_show(marked):
    (marked / "classes.txt").write_text("hat\nbelt")
    with pytest.raises(DataError, match=r"nothing but 0 and 255, .* which of 2 classes") as caught:
        folder(marked)
    assert "classes.txt" in caught.value.hint


def test_empty_masks_mark_nothing(marked, write_png):
    for n in range(10):
        write_png(marked / "masks" / f"p{n}.png", np.zeros((20, 30), np.uint8))
    dataset = folder(marked)
    assert not dataset.pairs and not dataset.note


def test_two_photographs_of_one_name(root, write_png):
    write_png(root / "images" / "p1.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match=r"share a name.*p1"):
        folder(root)


def test_missing_folder_and_classes(root, tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"classes\.txt is a file"):
        folder(tmp_path / "classes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"classes\.txt is missing"):
        folder(tmp_path / "empty")
    (root / "images").rename(root / "pictures")
    with pytest.raises(DataError, match="images is missing"):
        folder(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 null\n1 hat\n", {1: "hat"}),
        ("hat\n\nlong coat\n", {1: "hat", 2: "long coat"}),
        ("3 hat\r\n9 long coat\r\n", {3: "hat", 9: "long coat"}),
        ("background\nhat\nlong coat\n", {1: "hat", 2: "long coat"}),
        ("# what we sell\n__ignore__\n_background_\nhat\n", {1: "hat"}),
    ],
)
def test_classes_with_numbers_and_without(tmp_path, text, expected):
    """As ``arnet infer`` reads them: the values of a mask mean the same to both."""
    (tmp_path / "classes.txt").write_text(text)
    assert read_classes(tmp_path / "classes.txt") == expected
    assert read_label_names(tmp_path / "classes.txt").names == expected


@pytest.mark.parametrize("text", ["", "0 null\n", "1 hat\nbelt\n", "1 a\n1 b\n", "a\na\n", "255 a"])
def test_wrong_classes(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=r"classes\.txt"):
        read_classes(tmp_path / "classes.txt")


def test_open_dataset_by_kind(root):
    dataset = open_dataset("folder", root, "val", 1, folds=2)
    assert dataset.classes == (2, 4)
    with pytest.raises(DataError, match='kind of data set "imagenet"') as caught:
        open_dataset("imagenet", root)
    assert "pascal, coco, folder" in caught.value.hint
    with pytest.raises(DataError, match="folder has no option crowd"):
        open_dataset("folder", root, crowd="ignore")


@pytest.mark.parametrize("kind", ["pascal", "coco", "folder"])
def test_unknown_split(kind, root):
    with pytest.raises(DataError, match='no split "test"'):
        open_dataset(kind, root, "test")


@pytest.mark.data
def test_clothing_photographs_open(real_data):
    dataset = folder(real_data / "ccp", "val", held_out=("dress", "jeans"))
    assert len(dataset.ids) == 205
    for image_id, class_id in dataset.pairs[::10]:
        assert (dataset.mask(image_id) == class_id).mean() >= 0.01
        assert dataset.image(image_id).shape[:2] == dataset.mask(image_id).shape


def test_an_image_in_both_lists_is_refused(root):
    names = sorted(path.stem for path in (root / "images").iterdir())
    (root / "train.txt").write_text("\n".join(names[1:]))
    (root / "val.txt").write_text("\n".join(names[:2]))
    with pytest.raises(
        DataError, match=rf"1 images .* are in train.txt and in val.txt: {names[1]}"
    ):
        folder(root, "train")
    (root / "val.txt").write_text(names[0])
    assert folder(root, "val").ids == [names[0]]


def test_text_that_is_not_utf8_is_told(root):
    (root / "classes.txt").write_bytes("1 b\xe4r".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read"):
        folder(root, "train")
