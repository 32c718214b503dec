"""Real episodes: every annotated photograph is once the query of the others."""

import shutil

import numpy as np
import pytest
from PIL import Image

from arnet.checkpoint import Checkpoint
from arnet.config_file import load_config
from arnet.export.episodes import MOST_SHOTS, from_dataset, from_folders
from arnet.runtime.errors import AnnotationError, DataError
from arnet.runtime.supports import read_supports


def test_each_photograph_is_found_by_the_others(photographs) -> None:
    episodes = from_folders(photographs)
    assert len(episodes) == 6
    for folder, own in zip(photographs, (episodes[:3], episodes[3:]), strict=True):
        supports = read_supports(folder)
        for number, episode in enumerate(own):
            assert episode.name == f"{number}.png"
            np.testing.assert_array_equal(episode.query, supports[number].image)
            np.testing.assert_array_equal(episode.truth, supports[number].mask)
            assert len(episode.images) == len(episode.masks) == 2
            for offset in (1, 2):  # those that follow, so that all serve as the first and last
                other = supports[(number + offset) % 3]
                np.testing.assert_array_equal(episode.images[offset - 1], other.image)
                np.testing.assert_array_equal(episode.masks[offset - 1], other.mask)


def test_a_class_is_called_like_its_folder(photographs, tmp_path) -> None:
    for folder in photographs:
        shutil.copytree(folder, tmp_path / "shapes" / folder.name)
    labels = [episode.label for episode in from_folders([tmp_path / "shapes"])]
    assert labels == ["disc"] * 3 + ["square"] * 3
    labels = [episode.label for episode in from_folders(photographs)]
    assert labels == [folder.name for folder in photographs for _ in range(3)]


def test_no_more_shots_than_wanted(repository, photographs, tmp_path) -> None:
    horses = repository / "examples" / "horse"
    assert {len(episode.images) for episode in from_folders([horses])} == {4}
    assert {len(episode.images) for episode in from_folders([horses], 2)} == {2}
    assert {len(episode.images) for episode in from_folders([horses], most=3)} == {3}
    assert {len(episode.images) for episode in from_folders([horses], most=9)} == {4}
    many = tmp_path / "many"
    many.mkdir()
    for number in range(MOST_SHOTS + 2):
        shutil.copy(photographs[0] / "0.png", many / f"{number}.png")
        shutil.copy(photographs[0] / "0_mask.png", many / f"{number}_mask.png")
    assert {len(episode.images) for episode in from_folders([many])} == {MOST_SHOTS}


def test_too_few_photographs(photographs, tmp_path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    for name in ("0.png", "0_mask.png"):
        shutil.copy(photographs[0] / name, one)
    with pytest.raises(AnnotationError, match="no class has 2 annotated photographs") as caught:
        from_folders([one])
    assert "--data" in caught.value.hint
    with pytest.raises(AnnotationError, match="no class has 4 annotated photographs"):
        from_folders(photographs, shots=3)
    assert len(from_folders([one, photographs[0]])) == 3  # the other folder has enough


def test_episodes_of_a_data_set(shapes) -> None:
    overrides = ["data.kind=folder", "data.fold=null", "data.held_out=[disc]"]
    checkpoint = Checkpoint(None, load_config(None, overrides), {}, "")
    episodes = from_dataset(checkpoint, shapes, 4, shots=2)
    assert len(episodes) == 4
    for episode in episodes:
        assert episode.label == "disc"
        assert len(episode.images) == len(episode.masks) == 2
        for image, mask in zip(
            (*episode.images, episode.query), (*episode.masks, episode.truth), strict=True
        ):
            assert image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)
            assert set(np.unique(mask)) == {0, 1}
            green, others = image[mask == 1][:, 1], image[mask == 1][:, 0]
            assert green.mean() > 200 > 60 > others.mean()  # the disc is green, and only it
    assert len({episode.name for episode in episodes}) > 1
    again = from_dataset(checkpoint, shapes, 4, shots=2)
    assert [episode.name for episode in again] == [episode.name for episode in episodes]
    other = from_dataset(checkpoint, shapes, 4, shots=2, seed=1)
    assert [episode.name for episode in other] != [episode.name for episode in episodes]


def test_a_data_set_without_enough_images(shapes, tmp_path) -> None:
    root = tmp_path / "few"
    shutil.copytree(shapes, root)
    for path in sorted((root / "masks").iterdir())[3:]:
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 2, 0, mask)).save(path)
    overrides = ["data.kind=folder", "data.fold=null", "data.held_out=[disc]"]
    checkpoint = Checkpoint(None, load_config(None, overrides), {}, "")
    with pytest.raises(DataError, match=r"no class of few .* has the 6 images"):
        from_dataset(checkpoint, root, 4)
