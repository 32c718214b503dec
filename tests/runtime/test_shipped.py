"""Models that come with arnet, found by name."""

from pathlib import Path

import pytest

from arnet.runtime import shipped
from arnet.runtime.errors import ConfigError


@pytest.fixture
def weights(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("arnet-r18.safetensors", "arnet-r50.safetensors", "arnet-r50.zip"):
        (folder / name).write_bytes(b"")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_name_is_found_by_its_kind(weights) -> None:
    name = Path("arnet-r50")
    assert shipped.find(name, shipped.BUNDLE) == weights / "arnet-r50.zip"
    assert shipped.find(name, shipped.CHECKPOINT) == weights / "arnet-r50.safetensors"
    with pytest.raises(ConfigError, match="neither a file arnet-r18 nor") as caught:
        shipped.find(Path("arnet-r18"), shipped.BUNDLE)
    assert caught.value.hint == "give a path, or one of arnet-r50"


def test_what_is_there_goes_before_a_name(weights) -> None:
    Path("arnet-r50").mkdir()
    assert shipped.find(Path("arnet-r50"), shipped.BUNDLE) == Path("arnet-r50")


@pytest.mark.parametrize("given", ["runs/mine", "mine.zip", "/absent"])
def test_a_path_stays_a_path(weights, given) -> None:
    assert shipped.find(Path(given), shipped.BUNDLE) == Path(given)
