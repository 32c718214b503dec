"""What a killed export leaves is swept up by the next one, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from arnet.export.bundle import staging

KILLED = """
import os, sys
from pathlib import Path
from arnet.export.bundle import staging
with staging(Path(sys.argv[1])) as folder:
    folder.mkdir()
    (folder / "decode.onnx").write_bytes(bytes(1000))
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def left(tmp_path) -> Path:
    """What an export leaves that is killed."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "tiny")])
    assert killed.returncode == -9
    (folder,) = tmp_path.iterdir()
    assert (folder / "tiny" / "decode.onnx").stat().st_size == 1000
    return folder


def test_the_next_export_removes_them(left, tmp_path) -> None:
    with staging(tmp_path / "other.zip") as folder:
        assert list(tmp_path.iterdir()) == [folder.parent]
    assert list(tmp_path.iterdir()) == []


def test_what_another_export_works_in_stays(tmp_path) -> None:
    with staging(tmp_path / "one") as one, staging(tmp_path / "two") as two:
        assert one.parent.is_dir() and two.parent.is_dir()


def test_what_holds_the_bundle_that_was_to_be_replaced_stays(left, tmp_path) -> None:
    (left / "replaced").mkdir()
    with staging(tmp_path / "other"):
        assert left.is_dir()


def test_folders_of_others_stay(tmp_path) -> None:
    other = tmp_path / ".0123456789abcdef.tmp"
    (other / "letter").mkdir(parents=True)
    with staging(tmp_path / "tiny"):
        pass
    assert (other / "letter").is_dir()
