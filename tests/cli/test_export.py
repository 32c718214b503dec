"""``arnet export`` and ``arnet parity``: a bundle that says what the checkpoint says, or none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from arnet.checkpoint import save_checkpoint
from arnet.export.resampling import Preprocess
from arnet.modeling import ARNet
from arnet.runtime.bundle import Bundle


@pytest.fixture(scope="module")
def exported(checkpoint: Path, examples: Path, tmp_path_factory: pytest.TempPathFactory):
    """A bundle of the tiny checkpoint, and what was printed."""
    from typer.testing import CliRunner

    from arnet.cli.app import app

    out = tmp_path_factory.mktemp("exported") / "bundle"
    arguments = ["--checkpoint", str(checkpoint), "--support", str(examples / "horse")]
    result = CliRunner().invoke(app, ["export", *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in folder.glob("*_mask.png")}


def test_export_ends_with_parity_and_the_next_command(exported) -> None:
    out, printed = exported
    assert "PASSED" in printed
    assert "changed pixels" in printed
    assert printed.splitlines()[-1].startswith("Next: arnet infer --bundle")
    manifest = Bundle.open(out).manifest
    assert manifest.parity is not None
    assert manifest.parity["passed"] is True
    assert manifest.parity["episodes"] == 5
    assert json.loads((out / "parity.json").read_text()) == manifest.parity
    card = (out / "MODEL_CARD.md").read_text()
    assert f"{manifest.parity['probability_largest']:.2g}" in card
    assert manifest.checkpoint.sha256 in card
    assert sorted(path.name for path in out.parent.iterdir()) == ["bundle"]


def test_infer_with_the_bundle_gives_the_files_of_the_checkpoint(
    run, exported, checkpoint: Path, examples: Path, tmp_path: Path
) -> None:
    out, _ = exported
    common = ("--support", examples / "horse", "--query", examples / "queries", "--figure")
    assert run("infer", "--checkpoint", checkpoint, *common, "--out", tmp_path / "torch").code == 0
    assert run("infer", "--bundle", out, *common, "--out", tmp_path / "onnx").code == 0
    ours, theirs = masks(tmp_path / "onnx"), masks(tmp_path / "torch")
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 5
    changed = sum(int((ours[name] != theirs[name]).sum()) for name in ours)
    assert changed <= 1e-4 * sum(mask.size for mask in ours.values())
    assert any(0 < mask.mean() < 255 for mask in ours.values())
    names = [
        sorted(path.name for path in (tmp_path / kind).iterdir()) for kind in ("onnx", "torch")
    ]
    assert names[0] == names[1]
    read = [
        json.loads((tmp_path / kind / "results.json").read_text()) for kind in ("onnx", "torch")
    ]
    assert read[0]["supports"] == read[1]["supports"]
    areas = [[s["area"] for r in one["results"] for s in r["segments"]] for one in read]
    assert np.allclose(areas[0], areas[1], rtol=1e-3, atol=20)
    assert read[0]["model"]["kind"] == "bundle"


def test_parity_repeats_the_gate(run, exported, checkpoint: Path, examples: Path) -> None:
    out, _ = exported
    finished = run("parity", out, "--checkpoint", checkpoint, "--support", examples / "dog")
    assert finished.code == 0, finished.err
    assert "PASSED" in finished.out


def test_parity_refuses_another_checkpoint(fails, exported, tiny_config, tmp_path: Path, examples):
    out, _ = exported
    other = tmp_path / "other.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_checkpoint(other, ARNet(tiny_config.model), tiny_config, {})
    message = fails("parity", out, "--checkpoint", other, "--support", examples / "horse")
    assert "was made from" in message


@pytest.mark.parametrize("fault", ["channels", "resize"])
def test_a_bundle_that_prepares_photographs_wrongly_is_not_published(
    run, checkpoint: Path, examples: Path, tmp_path: Path, monkeypatch, fault: str
) -> None:
    right = Preprocess.forward

    def wrong(self: Preprocess, image: torch.Tensor) -> torch.Tensor:
        if fault == "channels":
            return right(self, image.flip(2))
        shifted = torch.cat([image[:, 1:], image[:, -1:]], dim=1)  # half a pixel off, or more
        return right(self, shifted)

    monkeypatch.setattr(Preprocess, "forward", wrong)
    out = tmp_path / "bundle"
    common = ("--checkpoint", checkpoint, "--support", examples / "horse")
    finished = run("export", *common, "--out", out)
    assert finished.code == 1
    assert "FAILED" in finished.out
    assert not out.exists()
    assert json.loads((tmp_path / "bundle.failed" / "parity.json").read_text())["failures"]


def test_export_needs_photographs(fails, checkpoint: Path, tmp_path: Path) -> None:
    message = fails("export", "--checkpoint", checkpoint, "--out", tmp_path / "bundle")
    assert "--support" in message
    assert list(tmp_path.iterdir()) == []


def test_one_photograph_is_not_enough(fails, checkpoint: Path, support: Path, tmp_path: Path):
    out = tmp_path / "out" / "bundle"
    message = fails("export", "--checkpoint", checkpoint, "--support", support, "--out", out)
    assert "2 annotated photographs" in message
    assert not out.parent.exists()


def test_what_is_there_is_not_replaced_unasked(
    fails, exported, checkpoint: Path, examples: Path, tmp_path: Path
) -> None:
    out, _ = exported
    before = (out / "manifest.json").read_bytes()
    common = ("export", "--checkpoint", checkpoint, "--support", examples / "horse", "--out")
    assert "--overwrite" in fails(*common, out)
    assert (out / "manifest.json").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "no bundle" in fails(*common, tmp_path / "mine", "--overwrite")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
