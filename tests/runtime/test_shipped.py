"""Models that come with arnet, found by name."""

import zipfile
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
    with pytest.raises(ConfigError, match="neither a file arnet-r99 nor") as caught:
        shipped.find(Path("arnet-r99"), shipped.BUNDLE)
    assert caught.value.hint == "give a path, or one of arnet-r50"


def test_what_is_there_goes_before_a_name(weights) -> None:
    Path("arnet-r50").mkdir()
    assert shipped.find(Path("arnet-r50"), shipped.BUNDLE) == Path("arnet-r50")


@pytest.mark.parametrize("given", ["runs/mine", "mine.zip", "/absent"])
def test_a_path_stays_a_path(weights, given) -> None:
    assert shipped.find(Path(given), shipped.BUNDLE) == Path(given)


@pytest.mark.parametrize("given", ["arnet-r18", "mine.safetensors"])
def test_a_checkpoint_in_place_of_a_bundle(weights, given) -> None:
    Path("mine.safetensors").touch()
    with pytest.raises(ConfigError, match=f"^{given} .*a checkpoint, not a bundle") as caught:
        shipped.find(Path(given), shipped.BUNDLE)
    assert f"--checkpoint {given}; " in caught.value.hint
    stem = Path(given).stem
    assert f"arnet export --checkpoint {given} --out {stem}.bundle" in caught.value.hint
    assert shipped.find(Path("mine.safetensors"), shipped.CHECKPOINT) == Path("mine.safetensors")


@pytest.mark.parametrize("given", ["arnet-int8", "mine.bundle", "mine.zip", "folder.zip"])
def test_a_bundle_in_place_of_a_checkpoint(weights, given) -> None:
    (weights / "arnet-int8.zip").touch()
    Path("mine.bundle").mkdir()
    Path("mine.bundle", "manifest.json").write_text("{}")
    for name, entry in (
        ("mine.zip", "manifest.json"),
        ("folder.zip", "mine/manifest.json"),
        ("torch.pth", "archive/data.pkl"),
    ):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr(entry, "{}")
    with pytest.raises(ConfigError, match=f"^{given} .*a bundle, not a checkpoint") as caught:
        shipped.find(Path(given), shipped.CHECKPOINT)
    assert f"--bundle {given}; " in caught.value.hint
    assert shipped.find(Path("torch.pth"), shipped.CHECKPOINT) == Path("torch.pth")
