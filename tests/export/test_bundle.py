"""A bundle is written whole or not at all, and what is there is not replaced unasked."""

import errno
import hashlib
import os
import resource
import signal
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from arnet.export import exporter
from arnet.export.bundle import check_place, interface, serialised
from arnet.runtime.bundle import MANIFEST, Bundle, TensorInfo
from arnet.runtime.errors import BundleError, OutputError
from arnet.runtime.segmenter import Segmenter


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, by the hash of what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


@pytest.fixture
def quick(exports, exported, monkeypatch):
    """Exports without the gate, whose answer is known."""
    monkeypatch.setattr(exporter, "judge", lambda *_: exported.parity)
    return exports


def failing(monkeypatch, name: str, number: int, error: BaseException) -> None:
    """Let the call of a method of Path with this number fail, after half of its work."""
    original, calls = getattr(Path, name), []

    def method(self, *arguments):
        calls.append(self)
        if len(calls) == number:
            if name == "write_bytes":
                original(self, arguments[0][: len(arguments[0]) // 2])
            raise error
        return original(self, *arguments)

    monkeypatch.setattr(Path, name, method)


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")
WRITES = 18  # seven graphs and the manifest; these again with the card and the report


@pytest.mark.parametrize("number", range(1, WRITES + 1))
@pytest.mark.parametrize("error", [DISK_FULL, KeyboardInterrupt()], ids=["disk full", "Ctrl-C"])
def test_an_interrupted_export_leaves_nothing(quick, tmp_path, monkeypatch, number, error) -> None:
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patch:
        failing(patch, "write_bytes", number, error)
        with pytest.raises(expected) as caught:
            quick(tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []
    if expected is OutputError:
        assert "tiny could not be written: No space left" in caught.value.message
        assert caught.value.hint


def test_the_last_of_these_writes_is_the_last(quick, tmp_path, monkeypatch) -> None:
    failing(monkeypatch, "write_bytes", WRITES + 1, DISK_FULL)
    assert Bundle.open(quick(tmp_path / "tiny").path)


@pytest.mark.parametrize(
    ("name", "method", "number"),
    [
        ("tiny", "write_bytes", 1),
        ("tiny", "write_bytes", WRITES),
        ("tiny", "rename", 2),  # the old one goes; the first is the lock's
        ("tiny", "rename", 3),  # the new one comes
        ("tiny.zip", "write_bytes", WRITES),
        ("tiny.zip", "replace", 1),
    ],
)
def test_an_interrupted_export_keeps_the_bundle_that_is_there(
    quick, tmp_path, monkeypatch, name, method, number
) -> None:
    quick(tmp_path / name)
    before = contents(tmp_path)
    for error in (DISK_FULL, KeyboardInterrupt()):
        with monkeypatch.context() as patch:
            failing(patch, method, number, error)
            with pytest.raises((OutputError, KeyboardInterrupt)):
                quick(tmp_path / name, overwrite=True)
        assert contents(tmp_path) == before
    Bundle.open(tmp_path / name)


@pytest.mark.parametrize("stage", ["factorise", "write graphs", "write bundle", "parity"])
def test_an_export_interrupted_at_any_step_leaves_nothing(exports, tmp_path, stage) -> None:
    def interrupt(step, done, total) -> None:
        if step == stage and done == (4 if step == "write bundle" else done):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exports(tmp_path / "tiny", told=interrupt)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_at_most(size: int):
    """The system itself refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
def test_a_file_that_the_system_does_not_take(quick, tmp_path, name) -> None:
    quick(tmp_path / name)
    before = contents(tmp_path)
    with files_at_most(1_000_000), pytest.raises(OutputError, match="could not be written"):
        quick(tmp_path / name, overwrite=True)
    assert contents(tmp_path) == before
    with files_at_most(1_000_000), pytest.raises(OutputError):
        quick(tmp_path / f"new-{name}")
    assert contents(tmp_path) == before


def test_what_a_killed_export_leaves_is_no_bundle(exports, tmp_path) -> None:
    def kill(step, done, total) -> None:
        if (step, done) == ("write bundle", 4):  # everything is written, nothing is judged
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            exports(tmp_path / "tiny", told=kill)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not (tmp_path / "tiny").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    with pytest.raises(BundleError, match="interrupted export"):
        Bundle.open(left)
    # Whoever digs in it finds a bundle that was not judged.
    assert Bundle.open(left / "tiny").manifest.parity is None
    # It is in nobody's way.
    assert Bundle.open(exports(tmp_path / "tiny").path).manifest.parity["passed"]


def test_a_manifest_is_written_last_and_a_half_bundle_is_refused(
    quick, tmp_path, monkeypatch
) -> None:
    written, original = [], Path.write_bytes
    monkeypatch.setattr(
        Path, "write_bytes", lambda self, data: (written.append(self.name), original(self, data))[1]
    )
    bundle = quick(tmp_path / "tiny").path
    assert len(written) == WRITES
    assert [n for n, name in enumerate(written, 1) if name == MANIFEST] == [8, WRITES]
    (bundle / MANIFEST).unlink()
    with pytest.raises(BundleError, match="no manifest"):
        Bundle.open(bundle)


def test_a_zip_is_the_folder(quick, tmp_path) -> None:
    folder, archive = quick(tmp_path / "tiny").path, quick(tmp_path / "tiny.zip").path
    with zipfile.ZipFile(archive) as file:
        found = {entry.filename: file.read(entry) for entry in file.infolist()}
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert [entry.filename for entry in file.infolist()] == sorted(found)
    assert found == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert Bundle.open(archive).sha256 == Bundle.open(folder).sha256


def test_a_zip_answers_as_its_folder(quick, tmp_path, episodes) -> None:
    answers = []
    for name in ("tiny", "tiny.zip"):
        segmenter = Segmenter.load(quick(tmp_path / name).path, "onnx", threads=1)
        state = segmenter.learn(episodes[0].images, episodes[0].masks)
        found = segmenter.segment(episodes[0].query, {"": state}).classes[""]
        answers.append(found.probability)
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
def test_the_same_export_gives_the_same_bytes(quick, tmp_path, name) -> None:
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        quick(tmp_path / place / name)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    quick(tmp_path / "first" / f"other-{name}")  # the negative control: a name is in the manifest
    first, other = (tmp_path / "first" / n for n in (name, f"other-{name}"))
    assert Bundle.open(first).sha256 != Bundle.open(other).sha256


class TestPlace:
    @pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
    def test_a_bundle_is_replaced_when_asked(self, quick, tmp_path, name) -> None:
        out = quick(tmp_path / name).path
        with pytest.raises(OutputError, match=f"{name} exists") as caught:
            quick(out)
        assert "--overwrite" in caught.value.hint
        before = Bundle.open(out).sha256
        quick(out, overwrite=True, custom_operators=False)
        assert Bundle.open(out).sha256 != before
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_free_place_is_taken_with_the_folders_above_it(self, quick, tmp_path) -> None:
        for name in ("a/b/tiny", "a/c/tiny.zip"):
            check_place(tmp_path / name, overwrite=False)
            assert Bundle.open(quick(tmp_path / name).path)

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda path: path.write_text("dear"), id="a file"),
            pytest.param(lambda path: path.mkdir(), id="an empty folder"),
            pytest.param(
                lambda path: (path.mkdir(), (path / "letter").write_text("dear")), id="a folder"
            ),
            pytest.param(lambda path: path.symlink_to("nowhere"), id="a link to nothing"),
        ],
    )
    @pytest.mark.parametrize("name", ["mine", "mine.zip"])
    def test_what_is_no_bundle_is_kept(self, tmp_path, make, name, overwrite, quick) -> None:
        make(tmp_path / name)
        before = contents(tmp_path)
        with pytest.raises(OutputError, match="exists and is no bundle"):
            quick(tmp_path / name, overwrite=overwrite)
        assert contents(tmp_path) == before

    def test_a_zip_of_something_else_is_kept(self, quick, tmp_path) -> None:
        with zipfile.ZipFile(tmp_path / "mine.zip", "w") as file:
            file.writestr("holiday.jpg", "blue")
        with pytest.raises(OutputError, match="exists and is no bundle"):
            quick(tmp_path / "mine.zip", overwrite=True)

    @pytest.mark.parametrize("text", ['{"name": "a web page"}', "[]", "no JSON", ""])
    def test_a_folder_with_another_manifest_is_kept(self, quick, tmp_path, text) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / MANIFEST).write_text(text)
        with pytest.raises(OutputError, match="exists and is no bundle"):
            quick(tmp_path / "mine", overwrite=True)
        assert (tmp_path / "mine" / MANIFEST).read_text() == text

    def test_a_damaged_bundle_is_replaced(self, quick, tmp_path) -> None:
        out = quick(tmp_path / "tiny").path
        (out / "decode.onnx").unlink()
        quick(out, overwrite=True)
        assert Bundle.open(out)

    def test_a_folder_that_holds_more_than_its_bundle_is_kept(self, quick, tmp_path) -> None:
        out = quick(tmp_path / "tiny").path
        for name in ("letter", "notes.onnx"):
            (out / name).write_text("dear")
        (out / "photographs").mkdir()
        before = contents(out)
        with pytest.raises(OutputError, match=r"go with it: letter, notes\.onnx, ph") as caught:
            quick(out, overwrite=True)
        assert "elsewhere" in caught.value.hint
        assert contents(out) == before
        for name in "12":
            (out / name).touch()
        with pytest.raises(OutputError, match="1, 2, letter and 2 more"):
            check_place(out, overwrite=True)

    def test_a_place_that_cannot_be_written_to(self, quick, tmp_path) -> None:
        (tmp_path / "file").write_text("dear")
        with pytest.raises(OutputError, match="could not be written"):
            quick(tmp_path / "file" / "tiny")
        assert (tmp_path / "file").read_text() == "dear"


def test_the_interface_of_a_stage(graphs) -> None:
    stage = interface("postprocess", graphs["postprocess"])
    assert stage.file == "postprocess.onnx"
    assert stage.inputs == (
        TensorInfo("margins", "float32", ("classes", 9, 9)),
        TensorInfo("size", "int64", (2,)),
    )
    (probability,) = stage.outputs
    assert probability.shape == ("classes", "height", "width")
    assert list(serialised(graphs)) == [f"{name}.onnx" for name in graphs]
