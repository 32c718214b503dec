"""Any file, not only a checkpoint."""

import hashlib

import pytest

from arnet.runtime.errors import CheckpointError, FileError
from arnet.runtime.files import sha256_of


def test_sha256(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"weights")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()


def test_a_file_that_cannot_be_read_is_not_called_a_checkpoint(tmp_path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileError, match=str(path)) as caught:
            sha256_of(path)
        assert not isinstance(caught.value, CheckpointError)
        assert caught.value.hint
