"""Which files are taken for photographs, and what is told of the others."""

from pathlib import Path

import pytest
from PIL import Image

from arnet.runtime.errors import ImageError
from arnet.runtime.finding import find_images, find_queries, images_in
from arnet.runtime.images import read_image
from arnet.runtime.supports import read_supports


def test_find_images(tmp_path, monkeypatch):
    names = ["b.JPG", "a.png", ".hidden.jpg", "._a.jpg", "Thumbs.db", ".DS_Store", "notes.txt"]
    for name in [*names, "sub/c.jpg", "__MACOSX/d.jpg", "odd[1].jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert find_images(str(tmp_path)) == [tmp_path / n for n in ("a.png", "b.JPG", "odd[1].jpg")]
    assert find_images("*.JPG") == [Path("b.JPG")]
    assert find_images(f"{tmp_path}/**/*.jpg") == [tmp_path / "odd[1].jpg", tmp_path / "sub/c.jpg"]
    assert find_images("odd[1].jpg") == [Path("odd[1].jpg")]
    assert find_images("notes.txt") == [Path("notes.txt")]  # named outright: reading will judge it
    for pattern in ("none.jpg", "*.bmp", "__MACOSX", ""):
        if pattern:
            with pytest.raises(ImageError) as caught:
                find_images(pattern)
            assert pattern in caught.value.message
            assert caught.value.hint


@pytest.mark.parametrize("name", ["IMG_1.CR2", "raw.dng"])
def test_photographs_that_are_not_read_are_told_not_passed_over(tmp_path, name):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    assert [path.name for path in images_in(tmp_path)] == ["a.jpg"]
    (tmp_path / name).write_bytes(b"...")
    for pattern in (tmp_path, tmp_path / "*"):
        with pytest.raises(ImageError, match=name) as caught:
            find_images(str(pattern))
        assert (
            f"JPEG, or move it away. Give the photographs alone by a pattern, '{tmp_path}/*.jpg'"
            in (caught.value.hint)
        )
    assert find_images(f"{tmp_path}/*.jpg") == [tmp_path / "a.jpg"]


def test_a_link_to_nothing_is_told_not_passed_over(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    (tmp_path / ".#a.jpg").symlink_to("nobody@nowhere")  # Emacs locks a file so
    (tmp_path / "notes").symlink_to("gone.txt")
    assert [path.name for path in images_in(tmp_path)] == ["a.jpg", "b.jpg"]
    (tmp_path / "c.jpg").symlink_to("gone.jpg")
    for pattern in (tmp_path, tmp_path / "*", tmp_path / "c.jpg"):
        assert find_images(str(pattern))[-1] == tmp_path / "c.jpg"
    with pytest.raises(ImageError, match=r"c\.jpg is a link to gone\.jpg") as caught:
        read_image(tmp_path / "c.jpg")
    assert caught.value.hint
    with pytest.raises(ImageError, match=r"c\.jpg is a link to gone\.jpg"):
        read_supports(tmp_path)


@pytest.mark.parametrize("name", ["clip.mp4", "IMG_7.MOV"])
def test_videos_are_told_not_passed_over(tmp_path, name):
    video = tmp_path / name
    video.write_bytes(b"...")
    for query in (tmp_path, tmp_path / "*"):
        with pytest.raises(ImageError, match=f"a video, not only photographs: .*{name}") as caught:
            find_images(str(query))
        assert caught.value.hint == f"arnet infer takes a video with --video {video}."
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    for query in (tmp_path, tmp_path / "*"):
        with pytest.raises(ImageError, match=name) as caught:
            find_images(str(query))
        assert f"--video {video}" in caught.value.hint
        assert f"by a pattern, '{tmp_path}/*.jpg'" in caught.value.hint
    assert find_images(f"{tmp_path}/*.jpg") == [tmp_path / "a.jpg"]


def test_a_video_named_outright_is_no_photograph_to_be_saved_otherwise(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"...")
    [found] = find_images(str(path))
    with pytest.raises(ImageError, match="is not an image") as caught:
        read_image(found)
    assert f"arnet infer takes it with --video {path}" in caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos", ["a"]),
        ("photos/a.jpg", ["a"]),
        ("photos/*.jpg", ["a"]),
        ("photos/**/*.jpg", ["a", "may.1/a", "may.1/b"]),
        ("photos/may*/*", ["may.1/a", "may.1/b"]),
        ("*/*.jpg", ["photos/a"]),
        ("*/../photos/a.jpg", ["a"]),
        ("odd[1]", ["c"]),
        ("odd[1]/c.png", ["c"]),
    ],
)
def test_a_name_has_the_folders_that_a_pattern_searched(tmp_path, monkeypatch, pattern, names):
    for path in ("photos/a.jpg", "photos/may.1/a.jpg", "photos/may.1/b.jpg", "odd[1]/c.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.chdir(tmp_path)
    for given in (pattern, f"{tmp_path}/{pattern}"):
        assert [query.name for query in find_queries([given])] == names
