import errno
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from arnet.checkpoint import FORMAT, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from arnet.modeling import ARNet
from arnet.runtime.errors import ArnetError, CheckpointError, OutputError

INFO = {"iteration": 7, "trained_classes": ["disc", "häuser"], "best_validation_miou": None}


@pytest.fixture
def saved(make_model, make_config, tmp_path):
    model, config = make_model(), make_config()
    path = tmp_path / "run" / "checkpoint.safetensors"
    save_checkpoint(path, model, config, INFO)
    return path, model, config


def rewrite(path, **changes):
    """The file with other metadata."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, {**metadata, **changes})


def test_round_trip_is_exact(saved):
    path, model, config = saved
    loaded = load_checkpoint(path)
    assert loaded.config == config and loaded.info == INFO
    expected, found = model.state_dict(), loaded.model.state_dict()
    assert list(expected) == list(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not loaded.model.training
    assert len(loaded.sha256) == 64
    other = ARNet(config.model).state_dict()
    assert not all(torch.equal(expected[name], other[name]) for name in expected)


def test_the_hash_is_that_of_the_file(saved):
    path, model, config = saved
    before = load_checkpoint(path).sha256
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    save_checkpoint(path, model, config, {**INFO, "iteration": 8})
    assert load_checkpoint(path).sha256 != before


def test_half_precision_halves_the_weights_but_not_the_running_statistics(
    make_model, make_config, tmp_path
):
    model, path = make_model(), tmp_path / "half.safetensors"
    model.backbone.bn1.running_var.fill_(80_000.0)  # as in Caffe's ResNet-50; float16 ends at 65504
    save_checkpoint(path, model, make_config("train.store=fp16"), INFO)
    loaded = load_checkpoint(path).model
    assert load_file(path)["mrm.conv1.0.weight"].dtype == torch.float16
    assert loaded.mrm.conv1[0].weight.dtype == torch.float32
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=1e-3, atol=1e-6)
    assert not torch.equal(loaded.mrm.conv1[0].weight, model.mrm.conv1[0].weight)


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint") as caught:
        load_checkpoint(tmp_path / "absent.safetensors")
    assert "arnet train" in caught.value.hint
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 5000, -1])
def test_a_truncated_file(saved, kept):
    path, _, _ = saved
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged") as caught:
        load_checkpoint(path)
    assert caught.value.hint


def test_bytes_flipped_in_the_header_never_raise_anything_else(make_config, tmp_path):
    """Each byte of the header in turn; a change that keeps the meaning may load."""
    path = tmp_path / "small.safetensors"
    save_tensors(path, {"a": torch.ones(2), "b": torch.zeros(3)}, FORMAT, {"config": {}, "info": 1})
    good = path.read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    refused = 0
    for place in range(length):
        damaged = bytearray(good)
        damaged[place] ^= 0x15
        path.write_bytes(damaged)
        try:
            load_tensors(path, FORMAT)
        except CheckpointError as error:
            assert error.hint
            refused += 1
    assert refused > length / 2


def test_a_flipped_byte_in_the_configuration_is_an_arnet_error(saved):
    path, _, _ = saved
    good = path.read_bytes()
    place = good.index(b"resnet18")
    path.write_bytes(good.replace(b"resnet18", b"resnot18", 1))
    assert place < 10_000
    with pytest.raises(ArnetError, match="resnot18"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"PK\x03\x04" + bytes(500)])
def test_not_a_safetensors_file(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.pth is damaged"):
        load_checkpoint(path)


def test_a_pickle_is_never_executed(tmp_path):
    path, witness = tmp_path / "evil.safetensors", tmp_path / "witness"

    class Evil:
        def __reduce__(self):
            return Path.touch, (witness,)

    torch.save({"state": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not witness.exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_safetensors_file_of_something_else(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.ones(3)}, path, metadata)
    with pytest.raises(CheckpointError, match="not an ARNet checkpoint") as caught:
        load_checkpoint(path)
    assert ("not named" if metadata is None else "format is pt") in caught.value.message
    assert "arnet train" in caught.value.hint


def test_a_newer_version(saved):
    path, _, _ = saved
    rewrite(path, version="1")
    load_checkpoint(path)
    rewrite(path, version="2", producer="arnet 9.1")
    with pytest.raises(CheckpointError, match=r"version 2.*arnet 9\.1") as caught:
        load_checkpoint(path)
    assert "git pull" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"header": "{}"},
        {"header": "["},
        {"header": "3"},
        {"header": '{"config": 3}'},
        {"version": "two"},
    ],
)
def test_a_header_without_its_parts(saved, change):
    path, _, _ = saved
    rewrite(path, **change)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_weights_of_another_architecture(saved):
    path, _, _ = saved
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["header"])
    header["config"]["model"]["channels"] = 16
    rewrite(path, header=json.dumps(header))
    with pytest.raises(CheckpointError, match=r"another architecture.*found 8.*needed 16") as c:
        load_checkpoint(path)
    assert "configuration" in c.value.hint


def test_tensors_that_are_missing_or_too_many(saved):
    path, _, _ = saved
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    removed = tensors.pop("mrm.conv1.0.bias")
    save_file(tensors, path, metadata)
    with pytest.raises(
        CheckpointError, match=r"1 tensors differ.*mrm\.conv1\.0\.bias \(found none"
    ):
        load_checkpoint(path)
    tensors |= {"mrm.conv1.0.bias": removed, "extra": removed.clone()}
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=r"extra .*needed none"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_file(saved, monkeypatch):
    path, model, config = saved
    before = path.read_bytes()

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with torch.no_grad():
        model.mpm[0].conv3.bias += 1
    with pytest.raises(OutputError, match="No space left") as caught:
        save_checkpoint(path, model, config, INFO)
    assert "space" in caught.value.hint
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path], "nothing half written stays"
    monkeypatch.undo()
    save_checkpoint(path, model, config, INFO)
    assert path.read_bytes() != before
