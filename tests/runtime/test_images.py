"""Photographs and masks of every mode, broken files, and writing."""

import contextlib
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from arnet.runtime import decoding
from arnet.runtime.errors import AnnotationError, ImageError, OutputError
from arnet.runtime.images import image_size, read_image, read_mask, save_image

# Two rows, three columns, all different, so that any turn or flip shows.
PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 13


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, PIXELS),
        (2, PIXELS[:, ::-1]),
        (3, PIXELS[::-1, ::-1]),
        (4, PIXELS[::-1]),
        (5, PIXELS.swapaxes(0, 1)),
        (6, np.rot90(PIXELS, -1)),
        (7, PIXELS[::-1, ::-1].swapaxes(0, 1)),
        (8, np.rot90(PIXELS)),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_orientation(tmp_path, orientation, expected, suffix):
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]
    Image.fromarray(PIXELS[:, :, 0]).save(path, exif=exif)
    np.testing.assert_array_equal(read_mask(path), expected[:, :, 0])


def test_size_of_a_turned_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert image_size(tmp_path / "a.jpg") == (40, 20) == read_image(tmp_path / "a.jpg").shape[:2]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_every_mode_gives_rgb(tmp_path, mode, size):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, size).save(path)
    image = read_image(path)
    assert image.shape == (size[1], size[0], 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable


def test_palette_colours_are_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 1]]


def test_alpha_is_laid_on_white(tmp_path):
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    solid, clear, half = read_image(tmp_path / "a.png")[0].tolist()
    assert solid == [200, 0, 0]
    assert clear == [255, 255, 255]
    np.testing.assert_allclose(half, [227, 127, 127], atol=1)


def test_palette_transparency_is_laid_on_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([9, 9, 9, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=b"\x00\xff")
    assert read_image(tmp_path / "a.png").tolist() == [[[255] * 3, [40, 50, 60]]]


def test_16_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_fewer_bits_in_16_are_scaled_by_the_bits(tmp_path, bits, suffix):
    """Out of 65535, all that a camera of 12 bits saw would be darker than 16."""
    full = (1 << bits) - 1
    values = np.array([[0, full // 4, full // 2, full]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    grey = read_image(tmp_path / f"a.{suffix}")[0, :, 0]
    np.testing.assert_allclose(grey, [0, 63.5, 127, 255], atol=0.5)
    # Not by the largest value itself: a picture a little darker is a little darker.
    Image.fromarray(values // 8 * 7).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").max() in range(217, 224)
    Image.fromarray(values * 0).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").max() == 0


def test_a_fast_png_holds_the_same_pixels_and_another_is_as_small_as_can_be(tmp_path):
    smooth = np.repeat(np.arange(256, dtype=np.uint8), 300).reshape(256, 300)
    for name, fast in (("small", False), ("fast", True)):
        save_image(tmp_path / f"{name}.png", smooth, fast=fast)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png")[:, :, 0], smooth)
    save_image(tmp_path / "fast.jpg", smooth, fast=True)  # which knows no such thing
    small, fast = ((tmp_path / f"{name}.png").stat().st_size for name in ("small", "fast"))
    Image.fromarray(smooth).save(tmp_path / "level6.png", compress_level=6)
    assert small == (tmp_path / "level6.png").stat().st_size < fast


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.array([[0.5]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="floating-point"):
        read_image(tmp_path / "a.tif")


def test_broken_files_are_named(tmp_path, recwarn):
    whole = tmp_path / "whole.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole)
    data = whole.read_bytes()
    Image.fromarray(noise).save(tmp_path / "whole.png")
    png = (tmp_path / "whole.png").read_bytes()
    cases = {
        "truncated.jpg": (data[: len(data) // 2], "damaged"),
        "truncated.png": (png[: len(png) // 2], "damaged"),
        "header.png": (png[:30], "a"),
        "text.jpg": (b"hello", "not an image"),
        "empty.jpg": (b"", "empty"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        for read in (read_image, read_mask):
            with pytest.raises(ImageError, match=message) as caught:
                read(tmp_path / name)
            assert name in caught.value.message
            assert caught.value.hint
    for path, message in ((tmp_path / "none.jpg", "does not exist"), (tmp_path, "folder")):
        with pytest.raises(ImageError, match=message):
            read_image(path)
    assert not recwarn.list


def test_images_above_pillows_limit_are_read(tmp_path, monkeypatch, recwarn):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(tmp_path / "a.png").shape == (30, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 100  # left as it was
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="40x30"):
        read_image(tmp_path / "a.png")
    assert not recwarn.list


def test_damaged_metadata_is_quiet(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f")
    code = "import sys; from arnet.runtime.images import *; print(read_image(sys.argv[1]).shape)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(8, 8, 3)\n", "")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[False, True]]), [0, 1]),
        (np.array([[7, 255]], np.uint8), [7, 255]),
        (np.array([[7, 255]], np.uint16), [7, 255]),
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
        (np.array([[0, 1000]], np.uint16), [0, 1]),
        (np.array([[[3, 3, 3], [9, 9, 9]]], np.uint8), [3, 9]),
        (np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8), [0, 1]),
        (np.array([[[9, 9, 9, 255], [255, 0, 0, 0]]], np.uint8), [9, 0]),
        (np.array([[[0, 0, 0, 0], [255, 0, 0, 255]]], np.uint8), [0, 1]),
    ],
)
def test_mask_values(tmp_path, array, expected):
    Image.fromarray(array).save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png")
    assert mask.tolist() == [expected]
    assert mask.dtype == np.uint8


def test_of_a_cutout_what_is_opaque_is_the_object(tmp_path):
    """As ``arnet infer --cutout`` and background removers write it; colours of a mask go first."""
    rng = np.random.default_rng(0)
    alpha = np.zeros((9, 9, 1), np.uint8)
    alpha[2:8, 1:8] = 255
    photograph = rng.integers(0, 256, (9, 9, 3), np.uint8)
    grey = np.repeat(photograph[:, :, :1], 3, axis=2)
    painted = np.zeros((9, 9, 3), np.uint8)
    painted[4, 1:5] = (200, 0, 0)
    for colours, expected in (
        (photograph, alpha[:, :, 0]),
        (grey, alpha[:, :, 0]),
        (photograph * 0, alpha[:, :, 0]),  # painted with a black brush on nothing
        (painted, (painted[:, :, 0] > 0)),
        (painted[:, :, :1] // 50 + np.zeros(3, np.uint8), painted[:, :, 0] // 50),
    ):
        Image.fromarray(np.concatenate([colours, alpha], axis=2)).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("values", [(255,), (255, 128), (0, 128, 255)], ids=str)
def test_a_photograph_without_hard_edges_is_no_cutout(tmp_path, values):
    photograph = np.random.default_rng(0).integers(0, 256, (9, 9, 4), np.uint8)
    photograph[:, :, 3] = np.resize(np.array(values, np.uint8), (9, 9))
    Image.fromarray(photograph).save(tmp_path / "a.png")
    with pytest.raises(AnnotationError, match="is a colour image"):
        read_mask(tmp_path / "a.png")


def test_painted_mask_needs_its_colours(tmp_path):
    rgb = np.array([[[0, 0, 0], [128, 0, 0], [0, 128, 0]]], np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    colours = {(0, 0, 0): 0, (128, 0, 0): 1, (0, 128, 0): 5}
    assert read_mask(tmp_path / "a.png", colours).tolist() == [[0, 1, 5]]
    on_nothing = np.dstack([rgb, np.array([[0, 255, 255]], np.uint8)])
    Image.fromarray(on_nothing).save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png", colours).tolist() == [[0, 1, 5]]
    with pytest.raises(AnnotationError, match="3 colours") as caught:
        read_mask(tmp_path / "a.png")
    assert "labelmap.txt" in caught.value.hint


@pytest.mark.parametrize(
    "array", [np.array([[0, 300, 999]], np.uint16), np.array([[0.5, 1]], np.float32)]
)
def test_masks_with_other_numbers_are_refused(tmp_path, array):
    Image.fromarray(array).save(tmp_path / "a.tif")
    with pytest.raises(AnnotationError, match="0 to 255"):
        read_mask(tmp_path / "a.tif")


def test_save_and_read_back(tmp_path):
    save_image(tmp_path / "new/folder/a.png", PIXELS)
    np.testing.assert_array_equal(read_image(tmp_path / "new/folder/a.png"), PIXELS)
    palette = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    save_image(tmp_path / "m.png", np.array([[0, 1]], np.uint8), palette)
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1]]
    assert read_image(tmp_path / "m.png").tolist() == [[[1, 2, 3], [4, 5, 6]]]
    with pytest.raises(OutputError, match=r"\.what"):
        save_image(tmp_path / "a.what", PIXELS)


def test_photographs_read_in_threads_leave_the_filters_of_warnings_alone(tmp_path, recwarn):
    """One thread begins while another reads, and ends after it."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f")
    before = list(warnings.filters)
    with contextlib.ExitStack() as second:
        with decoding.opened(path):
            second.enter_context(decoding.opened(path))
        with decoding.opened(path) as third:
            third.getexif()  # which warns
    assert warnings.filters == before
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_image, [path] * 200))
    assert warnings.filters == before
    assert not recwarn.list
