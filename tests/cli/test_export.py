"""``arnet export`` and ``arnet parity``: a bundle that says what the checkpoint says, or none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from arnet.checkpoint import save_checkpoint
from arnet.config import Config
from arnet.config_file import config_from_dict, config_to_dict
from arnet.export import exporter, graphs
from arnet.export.parity import Bounds, Parity, StageDifference
from arnet.export.resampling import Preprocess
from arnet.modeling import ARNet
from arnet.runtime.bundle import Bundle

SIZE = 129


@pytest.fixture(scope="module")
def trained(examples: Path) -> Path:
    """The checkpoint of the repository."""
    return examples.parent / "weights" / "arnet-r18.safetensors"


@pytest.fixture(scope="module")
def exported(trained: Path, examples: Path, tmp_path_factory: pytest.TempPathFactory):
    """Its bundle, and what was printed."""
    from typer.testing import CliRunner

    from arnet.cli.app import app

    root = tmp_path_factory.mktemp("exported")
    words = ["export", "--checkpoint", trained, "--support", examples / "horse", "--size", SIZE]
    words += ["--out", root / "horses", "--json", root / "report.json"]
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return root / "horses", result.output


@pytest.fixture
def reuse(exported, monkeypatch: pytest.MonkeyPatch):
    """Lets exports take the graphs that were made already, with others for some of the stages."""

    def reuse(**others: onnx.ModelProto) -> None:
        stages = Bundle.open(exported[0]).manifest.stages
        made = {n: onnx.load(exported[0] / stage.file) for n, stage in stages.items()} | others
        monkeypatch.setattr(exporter, "export_stages", lambda *_: dict(made))

    return reuse


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in folder.glob("*_mask.png")}


def test_export_ends_with_parity_and_the_next_command(exported) -> None:
    out, printed = exported
    assert "PASSED" in printed
    for stage in Bundle.open(out).manifest.stages:
        assert stage in printed
    assert "5 episodes of horse:" in printed and "changed pixels  0.0000 %" in printed
    assert f"Written to {out}" in printed
    last = printed.splitlines()[-1]
    assert last.startswith(f"Next: arnet infer --bundle {out} --support ")
    manifest = Bundle.open(out).manifest
    assert manifest.parity is not None
    assert manifest.parity["passed"] is True
    assert manifest.parity["episodes"] == 5
    assert manifest.image_size == SIZE
    assert json.loads((out / "parity.json").read_text()) == manifest.parity
    assert json.loads((out.parent / "report.json").read_text()) == manifest.parity
    card = (out / "MODEL_CARD.md").read_text()
    assert f"{manifest.parity['probability_largest']:.2g}" in card
    assert manifest.checkpoint.sha256 in card
    assert {path.name for path in out.parent.iterdir()} == {"horses", "report.json"}


def test_infer_with_the_bundle_gives_the_files_of_the_checkpoint(
    run, exported, trained: Path, examples: Path, tmp_path: Path
) -> None:
    common = ("--support", examples / "horse", "--query", examples / "queries", "--figure")
    models = {
        "torch": ("--checkpoint", trained, "--size", SIZE),
        "onnx": ("--bundle", exported[0]),
    }
    for kind, model in models.items():
        finished = run("infer", *model, *common, "--out", tmp_path / kind)
        assert finished.code == 0, finished.err
    ours, theirs = masks(tmp_path / "onnx"), masks(tmp_path / "torch")
    assert ours.keys() == theirs.keys()
    assert len(ours) == 5
    changed = sum(int((ours[name] != theirs[name]).sum()) for name in ours)
    assert changed <= 1e-4 * sum(mask.size for mask in ours.values())
    found = [mask.mean() / 255 for mask in ours.values()]
    assert 0 < min(found) < max(found) < 1 and max(found) > 0.1
    names = [{path.name for path in (tmp_path / kind).iterdir()} for kind in models]
    assert names[0] == names[1]
    read = [json.loads((tmp_path / kind / "results.json").read_text()) for kind in models]
    assert [one["model"]["kind"] for one in read] == ["checkpoint", "bundle"]
    for one in read:  # all but what was used and how long it took
        del one["model"]
        for result in one["results"]:
            del result["seconds"]
            for segment in result["segments"]:
                del segment["rle"]  # of the masks, which are compared above
                segment["bbox"] = [side / 1000 for side in segment["bbox"]]  # a pixel is nothing
    assert read[0].keys() == read[1].keys()
    assert nearly(read[0], read[1]), read
    read[0]["results"][0]["segments"][0]["area"] *= 1.1
    assert not nearly(read[0], read[1])  # the negative control


def nearly(a: object, b: object) -> bool:
    """Whether two JSON values are the same but for a pixel or a rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(nearly(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(nearly(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-3 + 1e-3 * max(abs(a), abs(b))
    return a == b


def test_a_zip_has_the_same_files(run, reuse, exported, trained: Path, examples: Path, tmp_path):
    reuse()
    out = tmp_path / "horses.zip"
    options = ("--size", SIZE, "--out", out)
    finished = run("export", "--checkpoint", trained, "--support", examples / "horse", *options)
    assert finished.code == 0, finished.err
    assert Bundle.open(out).sha256 == Bundle.open(exported[0]).sha256


def test_parity_repeats_the_gate(run, exported, trained: Path, examples: Path, tmp_path) -> None:
    report = tmp_path / "report.json"
    options = ("--checkpoint", trained, "--support", examples / "dog", "--json", report)
    finished = run("parity", exported[0], *options)
    assert finished.code == 0, finished.err
    assert "PASSED" in finished.out and "5 episodes of dog:" in finished.out
    assert finished.out.splitlines()[-1].startswith(f"Next: arnet bench {exported[0]}")
    assert "--query examples/queries" in finished.out.splitlines()[-1]
    assert json.loads(report.read_text())["passed"] is True


def test_parity_refuses_another_checkpoint(fails, exported, checkpoint: Path, examples: Path):
    options = ("--checkpoint", checkpoint, "--support", examples / "horse")
    message = fails("parity", exported[0], *options)
    assert "was made from arnet-r18.safetensors" in message


def test_parity_of_what_is_no_bundle(fails, trained: Path, examples: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path, trained):
        fails("parity", place, "--checkpoint", trained, "--support", examples / "horse")


def wrong_preprocess(fault: str, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """The graph that prepares photographs, with a fault."""
    right = Preprocess.forward

    def wrong(self: Preprocess, image: torch.Tensor) -> torch.Tensor:
        if fault == "channels":
            return right(self, image.flip(2))
        return right(self, torch.cat([image[:, 1:], image[:, -1:]], dim=1))

    with monkeypatch.context() as patch:
        patch.setattr(Preprocess, "forward", wrong)
        graphs._preprocess.cache_clear()  # neither what was made before is taken
        made = graphs.preprocess_graph(SIZE)
    graphs._preprocess.cache_clear()  # nor this one afterwards
    return made


@pytest.mark.parametrize("fault", ["channels", "one pixel off"])
def test_a_bundle_that_prepares_photographs_wrongly_is_not_published(
    run, reuse, trained: Path, examples: Path, tmp_path: Path, monkeypatch, fault: str
) -> None:
    reuse(preprocess=wrong_preprocess(fault, monkeypatch))
    common = ("--checkpoint", trained, "--support", examples / "horse")
    finished = run("export", *common, "--size", SIZE, "--out", tmp_path / "horses")
    assert finished.code == 1
    assert "FAILED" in finished.out and "horses.failed" in finished.out
    assert "Next:" not in finished.out and "Traceback" not in finished.err
    assert [path.name for path in tmp_path.iterdir()] == ["horses.failed"]
    assert json.loads((tmp_path / "horses.failed" / "parity.json").read_text())["failures"]
    if fault == "channels":  # once more, by the other command
        again = run("parity", tmp_path / "horses.failed", *common)
        assert again.code == 1
        assert "FAILED" in again.out and "a probability differs by" in again.out
        assert "Next:" not in again.out


class TestEpisodes:
    """What the gate asks, by the options; the export itself is not run."""

    @pytest.fixture
    def asked(self, run, exported, tiny_config: Config, tmp_path: Path, monkeypatch):
        given = []

        def record(checkpoint, name, out, episodes, source, *rest) -> exporter.Exported:
            given.append((episodes, source))
            return exporter.Exported(out, judged)

        judged = Parity(**parity_values(exported[0]))
        monkeypatch.setattr(exporter, "export_bundle", record)

        def asked(*options: object, **changes: dict[str, object]):
            tree = config_to_dict(tiny_config)
            for section, values in changes.items():
                tree[section] |= values
            config, path = config_from_dict(tree), tmp_path / "tiny.safetensors"
            save_checkpoint(path, ARNet(config.model), config, {})
            finished = run("export", "--checkpoint", path, "--out", tmp_path / "new", *options)
            assert finished.code == 0, finished.err
            return given[-1]

        return asked

    def test_photographs(self, asked, examples: Path) -> None:
        horse, dog = examples / "horse", examples / "dog"
        episodes, source = asked("--support", horse, "--support", dog)
        assert source == "horse, dog"
        assert [len(episode.images) for episode in episodes] == [4] * 10

    def test_held_out_classes_of_the_data_of_the_training(self, asked, data: Path) -> None:
        names = [path.stem for path in sorted((data / "images").iterdir())]
        (data / "val.txt").write_text("\n".join(names[1:]))
        (data / "train.txt").write_text(names[0])
        settings = {"kind": "folder", "fold": None, "held_out": ["ring"]}
        episodes, source = asked("--data", data, "--episodes", 3, data=settings)
        assert source == "the held-out classes of data"
        all_classes = {"kind": "folder", "fold": None, "held_out": []}
        assert asked("--data", data, "--episodes", 3, data=all_classes)[1] == "data"
        assert [episode.label for episode in episodes] == ["ring"] * 3
        assert {len(episode.images) for episode in episodes} == {5}
        model = {"pairing": "concatenate", "pairing_shots": 2}
        episodes, _ = asked("--data", data, data=settings, model=model)
        assert [len(episode.images) for episode in episodes] == [2] * 32

    def test_episodes_are_drawn_from_data_alone(self, fails, trained, examples: Path) -> None:
        words = ["--checkpoint", trained, "--support", examples / "horse", "--episodes", 3]
        assert "--episodes means nothing with --support" in fails("export", *words)

    def test_a_model_of_one_number_of_shots(self, asked, examples: Path) -> None:
        """It is asked with that number, however many photographs there are."""
        model = {"pairing": "concatenate", "pairing_shots": 2}
        episodes, _ = asked("--support", examples / "horse", model=model)
        assert [len(episode.images) for episode in episodes] == [2] * 5


def parity_values(bundle: Path) -> dict[str, object]:
    """Of the report of a bundle, as ``Parity`` takes them."""
    values = json.loads((bundle / "parity.json").read_text())
    del values["passed"]
    stages = tuple(StageDifference(**stage) for stage in values["stages"])
    return values | {"stages": stages, "bounds": Bounds(**values["bounds"]), "failures": ()}


def test_what_is_there_is_not_replaced_unasked(
    fails, run, reuse, exported, trained: Path, examples: Path, tmp_path: Path
) -> None:
    common = ("export", "--checkpoint", trained, "--support", examples / "horse", "--size", SIZE)
    out = tmp_path / "horses"
    shutil.copytree(exported[0], out)
    before = (out / "manifest.json").read_bytes()
    assert "--overwrite" in fails(*common, "--out", out)
    assert (out / "manifest.json").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "no bundle" in fails(*common, "--out", tmp_path / "mine", "--overwrite")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    (out / "decode.onnx").unlink()
    reuse()
    assert run(*common, "--out", out, "--overwrite").code == 0
    assert Bundle.open(out).sha256 == Bundle.open(exported[0]).sha256


@pytest.mark.parametrize("command", ["export", "parity"])
def test_help_teaches_without_torch(command: str) -> None:
    """It must come at once."""
    code = (
        "import sys; sys.argv = ['arnet', sys.argv[1], '--help']\n"
        "from arnet.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'onnx', 'onnxruntime'} & sys.modules.keys()\n"
        "    print('heavy:', sorted(heavy))\n"
    )
    environment = os.environ | {"COLUMNS": "200"}
    finished = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr
    assert "--support" in finished.stdout and "Example:" in finished.stdout
    assert "heavy: []" in finished.stdout
