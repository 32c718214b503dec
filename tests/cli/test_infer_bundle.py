"""``arnet infer`` with a bundle: the same files, without torch; states are kept and read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arnet.runtime import shipped
from arnet.runtime.errors import EngineError
from arnet.runtime.state import SupportState

Infer = Callable[..., str]

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "onnx", "yaml", "safetensors"):
    sys.modules[name] = None
from arnet.cli import main
main()
"""


@pytest.fixture
def infer(run, bundle: Path, query: Path, tmp_path: Path) -> Infer:
    """Runs ``arnet infer`` with the bundle into tmp_path/NAME; returns what it printed."""

    def infer(*options: object, out: str = "out", query: object = query) -> str:
        arguments = ["--bundle", bundle, "--query", query, "--out", tmp_path / out, *options]
        finished = run("infer", *arguments, "--engine", "onnx", "--threads", 1)
        assert finished.code == 0, finished.err
        return finished.out

    return infer


def test_without_a_model_the_one_that_comes_with_arnet_is_used(
    run, bundle: Path, support: Path, query: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    options = ["infer", "--support", support, "--query", query, "--out", tmp_path / "out"]
    missing = run(*options)
    assert missing.code == 2 and "neither a file arnet-r50 nor" in missing.err
    (tmp_path / "weights").mkdir()
    with zipfile.ZipFile(tmp_path / "weights" / "arnet-r50.zip", "w") as archive:
        for path in bundle.iterdir():
            archive.write(path, path.name)
    assert run(*options).code == 0
    found = results(tmp_path / "out")["model"]
    assert found["kind"] == "bundle" and found["input_size"] == 33


def contents(folder: Path) -> dict[str, bytes]:
    """The files by name, without the times."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    found.pop("results.json")
    return found


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_a_bundle_gives_the_files_that_a_checkpoint_gives(
    infer: Infer, run, checkpoint: Path, support: Path, query: Path, tmp_path: Path
) -> None:
    options = ["--support", support, "--prob", "--figure"]
    infer(*options)
    arguments = ["--checkpoint", checkpoint, "--query", query, "--out", tmp_path / "checkpoint"]
    assert run("infer", *arguments, *options).code == 0
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "checkpoint").keys()
    found, expected = results(tmp_path / "out"), results(tmp_path / "checkpoint")
    assert found.keys() == expected.keys()
    assert found["supports"] == expected["supports"]
    assert found["results"][0].keys() == expected["results"][0].keys()
    assert found["model"]["kind"] == "bundle"
    assert found["model"]["learn_seconds"] > 0
    # What it finds is the disc, turned by half as the query is.
    mask = np.asarray(Image.open(tmp_path / "out" / "query_mask.png")) == 255
    disc = np.asarray(Image.open(query))[:, :, 0] == 230
    assert (mask & disc).sum() > 0.5 * (mask | disc).sum()


def test_it_says_what_computes_and_why_not_something_faster(
    infer: Infer, run, bundle: Path, support: Path, query: Path, tmp_path: Path, monkeypatch
) -> None:
    said = infer("--support", support).splitlines()
    assert said[2] == "engine onnx on cpu"  # after the class and its support
    assert not [line for line in said if line.startswith("note: ")]
    pytest.importorskip("onnxruntime")
    from arnet.runtime.engines import onnx

    def broken(bundle: object, threads: object) -> None:
        raise EngineError("no [libcublas] was found", "Install it.")

    monkeypatch.setattr(onnx, "open_cuda", broken)
    arguments = ["--bundle", bundle, "--support", support, "--query", query, "--threads", 1]
    said = run("infer", *arguments, "--out", tmp_path / "auto").out.splitlines()
    assert said[2] == "engine onnx on cpu"
    assert said[3] == "note: not onnx-cuda: no [libcublas] was found (Install it.)"


def test_a_bundle_needs_no_torch(
    bundle: Path, checkpoint: Path, support: Path, query: Path, tmp_path: Path, infer: Infer
) -> None:
    arguments = ["infer", "--bundle", bundle, "--support", support, "--query", query]
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments, "--out", tmp_path / "process"]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    infer("--support", support)
    assert contents(tmp_path / "process") == contents(tmp_path / "out")
    # Negative control: the program cannot have found torch.
    given = command.index("--bundle")
    command[given : given + 2] = ["--checkpoint", checkpoint]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert finished.returncode == 2
    assert "pip install '.[train]'" in finished.stderr


def test_the_last_line_is_a_command(infer: Infer, support: Path, tmp_path: Path) -> None:
    last = infer("--support", support).splitlines()[-1]
    assert last.startswith("Next: ")
    assert last.endswith(str(tmp_path / "out" / "query_overlay.png"))


def test_a_state_stands_for_its_supports(infer: Infer, support: Path, tmp_path: Path) -> None:
    kept = tmp_path / "states" / "disc.npz"
    said = infer("--support", support, "--save-state", kept)
    assert f"--state {kept}" in said
    assert SupportState.load(kept).shots == 1
    infer("--state", kept, out="again")
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    found = results(tmp_path / "again")
    assert found["states"] == [{"class": "disc", "path": str(kept)}]
    assert found["supports"] == []
    assert [s["label"] for s in found["results"][0]["segments"]] == ["disc"]
    assert "states" not in results(tmp_path / "out")


def test_states_have_names_and_make_several_classes(
    infer: Infer, examples: Path, tmp_path: Path
) -> None:
    query = examples / "queries" / "both.jpg"
    for name in ("horse", "dog"):
        shutil.copytree(examples / name, tmp_path / "animals" / name)
        kept = tmp_path / f"{name}=1.npz"
        infer("--support", examples / name, "--save-state", kept, query=query)
    infer("--support", tmp_path / "animals", "--label", "all", query=query)
    # A name that holds "=" is still a file, if there is one.
    given = ["--state", f"dog={tmp_path / 'dog=1.npz'}", "--state", tmp_path / "horse=1.npz"]
    infer(*given, query=query, out="states")
    found = results(tmp_path / "states")
    labels = [s["label"] for s in found["results"][0]["segments"]]
    assert labels == ["dog", "horse=1"]
    mask = (tmp_path / "states" / "both_mask.png").read_bytes()
    assert mask == (tmp_path / "out" / "both_mask.png").read_bytes()


# What does not fit together. Nothing may have been written.


@pytest.fixture
def infer_fails(fails, bundle: Path, support: Path, query: Path, tmp_path: Path) -> Infer:
    def infer_fails(*options: object, **given: object) -> str:
        words = {"bundle": bundle, "support": support, "query": query} | given
        arguments = [
            word for name, value in words.items() if value for word in (f"--{name}", value)
        ]
        message = fails("infer", *arguments, "--out", tmp_path / "out", *options)
        assert not (tmp_path / "out").exists()
        return message

    return infer_fails


def test_exactly_one_model_one_source_and_one_kind_of_query_are_needed(
    infer_fails: Infer,
) -> None:
    model = infer_fails(checkpoint="c.safetensors")
    assert "--checkpoint and --bundle both say what to segment with" in model
    source = infer_fails(state="a.npz")
    assert "--support and --state both say what to look for" in source
    assert "--support or --state is needed: what to look for" in infer_fails(support=None)
    query = infer_fails(video="film.mp4")
    assert "--query and --video both say what to segment" in query
    nothing = infer_fails(query=None)
    assert "--query or --video is needed: what to segment" in nothing
    assert "for example: arnet infer" in nothing


@pytest.mark.parametrize(
    "option",
    [("--size", 65), ("--device", "cpu"), ("--precision", "fp16")],
    ids=["--size", "--device", "--precision"],
)
def test_options_of_a_checkpoint_mean_nothing_to_a_bundle(
    infer_fails: Infer, option: tuple[str, object]
) -> None:
    assert f"{option[0]} means nothing with --bundle" in infer_fails(*option)


@pytest.mark.parametrize(
    "option",
    [("--threads", 1), ("--save-state", "s.npz")],
    ids=["--threads", "--save-state"],
)
def test_options_of_a_bundle_mean_nothing_to_a_checkpoint(
    infer_fails: Infer, checkpoint: Path, option: tuple[str, object]
) -> None:
    message = infer_fails(*option, bundle=None, checkpoint=checkpoint)
    assert f"{option[0]} means nothing with --checkpoint" in message


@pytest.mark.parametrize(
    "option", [("--label", "a"), ("--annotation", "box"), ("--figure",), ("--save-state", "s.npz")]
)
def test_options_of_supports_mean_nothing_to_a_state(
    infer_fails: Infer, option: tuple[str, ...]
) -> None:
    message = infer_fails(*option, support=None, state="a.npz")
    assert f"{option[0]} means nothing with --state" in message


def test_a_state_that_is_missing_or_of_another_bundle_is_refused(
    infer_fails: Infer, tmp_path: Path
) -> None:
    assert "none.npz" in infer_fails(support=None, state=tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no state")
    assert "text.npz" in infer_fails(support=None, state=tmp_path / "text.npz")
    other = SupportState({"prototype": np.ones((1, 4), np.float32)}, None, "f" * 64)
    other.save(tmp_path / "other.npz")
    message = infer_fails(support=None, state=tmp_path / "other.npz")
    assert "made by the bundle ffffffffffff" in message


def test_two_states_of_one_name_are_refused(infer_fails: Infer) -> None:
    message = infer_fails("--state", "a/cat.npz", "--state", "b/cat.npz", support=None)
    assert "two states are called cat" in message
    assert "--state cat2=b/cat.npz" in message


def test_one_state_holds_one_class(infer_fails: Infer, examples: Path, tmp_path: Path) -> None:
    for name in ("horse", "dog"):
        shutil.copytree(examples / name, tmp_path / "animals" / name)
    options = ["--label", "all", "--save-state", tmp_path / "s.npz"]
    message = infer_fails(*options, support=tmp_path / "animals")
    assert "--save-state keeps one class, and there are 2: dog, horse" in message
    assert not (tmp_path / "s.npz").exists()


def test_a_bundle_or_engine_that_is_not_there_is_named(infer_fails: Infer, tmp_path: Path) -> None:
    assert "none.bundle" in infer_fails(bundle=tmp_path / "none.bundle")
    assert "abacus" in infer_fails("--engine", "abacus")
