import os

import numpy as np
import pytest

from arnet.data.files import FileSource
from arnet.data.scan import AreaFilter, GridFilter, scan_masks
from arnet.runtime.errors import DataError


def test_grid_filter_needs_more_than_two_points():
    mask = np.zeros((375, 500), np.uint8)
    mask[1, [1, 33]] = 7
    assert 7 not in GridFilter()(mask)
    mask[33, 1] = 7
    assert 7 in GridFilter()(mask)


def test_grid_filter_sees_the_points_only_whatever_the_area():
    mask = np.full((375, 500), 7, np.uint8)
    mask[1::32, 1::32] = 0
    assert GridFilter()(mask) == {0}


def test_grid_of_a_smaller_copy_is_that_of_the_original():
    original = np.zeros((375, 500), np.uint8)
    original[100:170, 200:300] = 7
    rows, columns = ((np.arange(n) * 500 / 384 + 0.65).astype(int) for n in (288, 384))
    copy = original[np.ix_(rows, columns)]
    assert GridFilter()(original) == GridFilter(shrunk=384)(copy) == {0, 7}
    # Points at rows 1, 33, 65 of the original: a copy taken as an original misses them.
    original[:] = 0
    for row in (1, 33, 65):
        original[row - 1 : row + 2, 32:35] = 7
    assert 7 in GridFilter()(original)
    copy = original[np.ix_(rows, columns)]
    assert 7 in GridFilter(shrunk=384)(copy)
    assert 7 not in GridFilter()(copy)


def test_grid_filter_leaves_photographs_that_were_small_already():
    mask = np.zeros((200, 320), np.uint8)
    mask[1, [1, 33]] = mask[33, 1] = 7
    assert 7 in GridFilter(shrunk=384)(mask)


def test_area_filter():
    mask = np.zeros((10, 10), np.uint8)
    mask[0, :4] = 7
    assert 7 in AreaFilter(pixels=4)(mask) and 7 not in AreaFilter(pixels=5)(mask)
    assert 7 in AreaFilter(share=0.04)(mask) and 7 not in AreaFilter(share=0.05)(mask)


def test_scan_tells_small_classes_from_usable_ones():
    mask = np.zeros((10, 10), np.uint8)
    mask[0] = 2
    mask[1, 0] = 1
    mask[2] = 255
    scan = scan_masks(["a"], lambda _: mask, {1, 2}, AreaFilter(pixels=5))
    assert scan["a"].pixels == {1: 1, 2: 10}
    assert scan["a"].usable == (2,)


def test_indices_that_are_no_class_are_named():
    mask = np.full((4, 4), 9, np.uint8)
    with pytest.raises(DataError, match=r"1 masks .* a \(9\)"):
        scan_masks(["a"], lambda _: mask, {1, 2}, AreaFilter())


class TestCache:
    @pytest.fixture
    def source(self, tmp_path, write_png):
        path = tmp_path / "a.png"
        write_png(path, np.full((4, 4), 1, np.uint8))
        return FileSource({"a": path}, {"a": path})

    @pytest.fixture
    def reads(self, monkeypatch):
        """Names of the files that are read."""
        from arnet.data import files

        read, names = files.read_mask, []

        def counted(path):
            names.append(path.name)
            return read(path)

        monkeypatch.setattr(files, "read_mask", counted)
        return names

    def test_second_scan_reads_nothing_and_is_the_same(self, source, reads, tmp_path):
        cache = tmp_path / "cache"
        first = source.scan({1: "one", 2: "two"}, AreaFilter(), cache)
        assert source.scan({1: "one", 2: "two"}, AreaFilter(), cache) == first
        assert reads == ["a.png"]

    def test_a_changed_mask_a_changed_filter_and_a_damaged_file_are_noticed(
        self, source, reads, tmp_path, write_png
    ):
        cache, names = tmp_path / "cache", {1: "one", 2: "two"}
        source.scan(names, AreaFilter(), cache)
        assert source.scan(names, AreaFilter(pixels=99), cache)["a"].usable == ()
        write_png(source.masks["a"], np.full((4, 4), 2, np.uint8))
        os.utime(source.masks["a"], ns=(1, 1))
        assert source.scan(names, AreaFilter(), cache)["a"].usable == (2,)
        for path in cache.iterdir():
            path.write_text('{"a": 1')
        assert source.scan(names, AreaFilter(), cache)["a"].usable == (2,)
        assert len(reads) == 4

    def test_no_cache_writes_nothing(self, source, reads, tmp_path):
        source.scan({1: "one"}, AreaFilter(), None)
        source.scan({1: "one"}, AreaFilter(), None)
        assert len(reads) == 2
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
