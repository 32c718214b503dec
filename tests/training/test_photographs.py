"""What a run and its checkpoint know of the photographs that they were trained on."""

import shutil

import pytest

from arnet.checkpoint import load_checkpoint, load_tensors, save_tensors
from arnet.data.folder import folder
from arnet.runtime.errors import DataError
from arnet.training.state import FORMAT


@pytest.fixture
def mine(shapes, tmp_path):
    """The shapes without lists: the names decide what is trained on."""
    root = shutil.copytree(shapes, tmp_path / "mine")
    for name in ("train.txt", "val.txt"):
        (root / name).unlink()
    return root


def add(root, name):
    for kind in ("images", "masks"):
        shutil.copy(root / kind / "p00.png", root / kind / f"{name}.png")


def test_resuming_needs_the_photographs_it_began_with(make_trainer, mine, tmp_path):
    out, root = tmp_path / "run", f"data.root={mine}"
    make_trainer(out, root).run()
    before = (out / "config.yaml").read_bytes()
    add(mine, "new")
    assert "new" in folder(mine, "val").ids
    make_trainer(out, root, resume=True)  # nothing has changed for the training
    add(mine, "extra")
    assert "extra" in folder(mine, "train").ids
    with pytest.raises(DataError, match=r"photographs of mine .* are not those") as caught:
        make_trainer(out, root, resume=True)
    assert "train.txt" in caught.value.hint and (out / "config.yaml").read_bytes() == before


def test_a_state_that_does_not_know_its_photographs_is_resumed(make_trainer, mine, tmp_path):
    out, root = tmp_path / "run", f"data.root={mine}"
    make_trainer(out, root).run()
    tensors, header = load_tensors(out / "state.safetensors", FORMAT)
    del header["position"]["photographs"]  # as states of older versions
    save_tensors(out / "state.safetensors", tensors, FORMAT, header)
    add(mine, "extra")
    assert make_trainer(out, root, resume=True).start.photographs == folder(mine).digest


def test_a_checkpoint_tells_what_it_was_trained_on_without_names(make_trainer, mine, tmp_path):
    trainer = make_trainer(tmp_path / "run", f"data.root={mine}")
    trainer.run()
    path = tmp_path / "run" / "checkpoint.safetensors"
    known = load_checkpoint(path).photographs
    assert trainer.dataset.among(known) == trainer.dataset.ids
    assert not folder(mine, "val").among(known)
    # By place, as before, some of what is kept was trained on.
    assert folder(mine, "val", by="place").among(known)
    assert b"p01" not in path.read_bytes()
