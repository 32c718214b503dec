"""Files of any kind: their hash, and that they are written whole or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from arnet.runtime.errors import CheckpointError, FileError, OutputError
from arnet.runtime.files import atomic_write, remove_leftovers, sha256_of, write_json


def test_sha256(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"weights")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()


def test_a_file_that_cannot_be_read_is_not_called_a_checkpoint(tmp_path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileError, match=str(path)) as caught:
            sha256_of(path)
        assert not isinstance(caught.value, CheckpointError)
        assert caught.value.hint


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with pytest.raises(OutputError, match="No space left") as caught, atomic_write(target) as path:
        path.write_text("half")
        raise OSError(28, "No space left on device")
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_output_in_an_impossible_place(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file/a.png", tmp_path / "folder"):
        with pytest.raises(OutputError, match="could not be written"):
            write_json(path, {})


def test_write_json(tmp_path):
    data = {"n": np.float32(0.5), "a": np.arange(2), "p": Path("x"), "u": "é"}
    write_json(tmp_path / "a.json", data)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"n": 0.5, "a": [0, 1], "p": "x", "u": "é"}
    assert "é" in text
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"n": float("nan")})


def test_a_name_that_is_no_utf8_is_written_as_an_escape(tmp_path):
    name = "é caf\udce9.png"  # what Python makes of b"caf\xe9.png"
    write_json(tmp_path / "a.json", {"path": Path(name)})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert r"é caf\udce9.png" in text
    assert json.loads(text) == {"path": name}


def test_leftovers_of_a_file_are_told_from_those_of_others(tmp_path):
    """Two writers that were killed, as it were: one of each file."""
    left = {}
    for name in ("state.safetensors", "result.json"):
        with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / name) as temporary:
            left[name] = temporary
            raise KeyboardInterrupt
        temporary.write_bytes(b"half")
    folder = tmp_path / ".0123456789abcdef.tmp"  # of a bundle that is being exported
    folder.mkdir()
    remove_leftovers(tmp_path / "state.safetensors")
    remove_leftovers(tmp_path / "nowhere" / "state.safetensors")
    assert sorted(tmp_path.iterdir()) == sorted([folder, left["result.json"]])
