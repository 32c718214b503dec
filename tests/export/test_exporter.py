"""From a checkpoint to a bundle: what is in it, what is told, and what becomes of a bad one."""

import hashlib
import json

import numpy as np
import onnx
import pytest

from arnet.export import exporter
from arnet.runtime.bundle import Bundle
from arnet.runtime.errors import ConfigError, OutputError
from arnet.runtime.preprocessing import MEAN, STD
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter
from arnet.version import __version__


@pytest.fixture
def damaged(graphs):
    """Graphs that say something else: the bias of the last convolution is another."""
    decode = onnx.ModelProto()
    decode.CopyFrom(graphs["decode"])
    bias = next(t for t in decode.graph.initializer if "classify.bias" in t.name)
    values = onnx.numpy_helper.to_array(bias) + np.float32(20)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    return {**graphs, "decode": decode}


def test_what_a_bundle_holds(exported, checkpoint, checkpoint_file) -> None:
    assert exported.path.name == "tiny"
    bundle = Bundle.open(exported.path)
    manifest = bundle.manifest
    assert {path.name for path in exported.path.iterdir()} == {*manifest.files, "manifest.json"}
    assert {"MODEL_CARD.md", "parity.json"} < set(manifest.files)
    assert list(manifest.stages) == [
        "preprocess", "encode_image", "encode_support", "fuse_support", "encode_query", "decode",
        "postprocess",
    ]  # fmt: skip
    assert manifest.producer == f"arnet {__version__}" and manifest.name == "tiny"
    assert manifest.checkpoint.name == "tiny.safetensors"
    digest = hashlib.sha256(checkpoint_file.read_bytes()).hexdigest()
    assert manifest.checkpoint.sha256 == digest == checkpoint.sha256
    assert (manifest.image_size, manifest.feature_size) == (65, (9, 9))
    assert (manifest.preprocessing.mean, manifest.preprocessing.std) == (MEAN, STD)
    assert manifest.precision.requested == manifest.precision.weights == "fp32"
    assert manifest.precision.built.keys() == manifest.stages.keys()
    assert manifest.custom_operators and manifest.opset == 20
    assert manifest.classes_together and manifest.shots is None and manifest.fused_shots == 8
    found = json.loads((exported.path / "parity.json").read_text())
    assert found == manifest.parity == json.loads(json.dumps(exported.parity.to_json()))


def test_the_card_tells_what_was_measured(exported, checkpoint) -> None:
    card = (exported.path / "MODEL_CARD.md").read_text()
    parity = exported.parity
    assert card.startswith("# tiny\n")
    for figure in (
        checkpoint.sha256,
        f"{parity.probability_largest:.2g}",
        f"{parity.mean_iou['model']:.2f}, {parity.mean_iou['bundle']:.2f}",
        "6 episodes of square, disc: within the bounds.",
        "arnet infer --bundle BUNDLE --support",
        "BUNDLE is the folder that this file is in, or the zip.",
        f"| the same of q1 | {parity.others_largest['q1']:.2g} | 0.0001 |",
        f"| the same of s | {parity.others_largest['s']:.2g} | 0.0001 |",
        f"| changed pixels, two classes at once | {100 * parity.together:.4f} % | 0.02 % |",
        "resnet18",
        "65 x 65",
    ):
        assert figure in card
    for stage in parity.stages:
        assert f"| {stage.stage} | {stage.tensor} | {stage.largest:.2g} |" in card


def test_a_bundle_answers_as_the_checkpoint(exported, checkpoint, episodes) -> None:
    model = TorchSegmenter(checkpoint, "checkpoint", "cpu")
    bundle = Segmenter.load(exported.path, "onnx", threads=1)
    shots = {"two": slice(0, 3), "one": slice(3, 4)}
    answers = []
    for segmenter in (model, bundle):
        states = {
            name: segmenter.learn(
                [e.query for e in episodes[own]], [e.truth for e in episodes[own]]
            )
            for name, own in shots.items()
        }
        answers.append(segmenter.segment(episodes[5].query, states))
    for name in shots:
        expected, found = (answer.classes[name] for answer in answers)
        for kind in ("probability", "first", "supports"):
            ours, theirs = getattr(found, kind), getattr(expected, kind)
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    one, two = (answers[1].classes[name].probability for name in shots)
    assert np.abs(one - two).max() > 0.01  # the negative control


@pytest.mark.parametrize("name", ["tiny", "tiny.zip"])
def test_a_bundle_out_of_bounds_gets_another_name(exports, damaged, tmp_path, name) -> None:
    made = exports(tmp_path / name, damaged)
    assert not made.parity.passed
    assert made.path == tmp_path / "tiny.failed"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.failed"]
    report = json.loads((made.path / "parity.json").read_text())
    assert report["passed"] is False and len(report["failures"]) == 4
    assert "OUT OF BOUNDS" in (made.path / "MODEL_CARD.md").read_text()
    assert Bundle.open(made.path).manifest.parity["passed"] is False
    exports(tmp_path / name, damaged)  # an earlier failure is replaced
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.failed"]


def test_a_bundle_out_of_bounds_replaces_none(exports, damaged, tmp_path) -> None:
    good = exports(tmp_path / "tiny").path
    before = Bundle.open(good).sha256
    assert not exports(tmp_path / "tiny", damaged, overwrite=True).parity.passed
    assert Bundle.open(good).sha256 == before


def test_what_has_the_name_of_a_failure_is_kept(exports, damaged, tmp_path) -> None:
    (tmp_path / "tiny.failed").mkdir()
    (tmp_path / "tiny.failed" / "letter").write_text("dear")
    with pytest.raises(OutputError, match=r"tiny\.failed exists and is no bundle"):
        exports(tmp_path / "tiny", damaged)
    assert (tmp_path / "tiny.failed" / "letter").read_text() == "dear"


def test_half_precision_that_overflows_is_reported(exports, half_graphs, tmp_path) -> None:
    """What the gate is for: infinite features are a failure with a report, not a traceback."""
    encode = onnx.ModelProto()
    encode.CopyFrom(half_graphs["encode_image"])
    weight = next(t for t in encode.graph.initializer if "conv1.weight" in t.name)
    values = np.full_like(onnx.numpy_helper.to_array(weight), 6e4)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    made = exports(tmp_path / "tiny", {**half_graphs, "encode_image": encode}, precision="fp16")
    assert made.path.name == "tiny.failed" and not made.parity.passed
    assert made.parity.changed > 0.5
    assert json.loads((made.path / "parity.json").read_text())["failures"]


@pytest.mark.parametrize(
    ("options", "requested", "weights"),
    [
        ({}, "fp32", "fp32"),
        ({"precision": "fp16"}, "fp16", "fp16"),
        ({"precision": "int8"}, "int8", "int8"),
        ({"store": "fp16"}, "fp32", "fp16"),
    ],
    ids=str,
)
def test_precisions(exports, tmp_path, options, requested, weights) -> None:
    made = exports(tmp_path / "tiny", **options)
    bundle = Bundle.open(made.path)
    precision = bundle.manifest.precision
    assert (precision.requested, precision.weights) == (requested, weights)
    rounded = " of fp16 weights" if "store" in options else ""  # they have bounds of their own
    assert made.parity.precision == requested + rounded
    assert made.parity.changed < 0.05
    main = "float16" if requested == "fp16" else "float32"
    assert max(precision.built["encode_image"], key=precision.built["encode_image"].get) == main
    assert ("uint8" in precision.built["decode"]) == (requested == "int8")
    size = bundle.manifest.files["encode_image.onnx"].bytes
    assert (size < 7e6) == bool(options)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_decide_what_they_store(exports, tmp_path, precision) -> None:
    with pytest.raises(ConfigError, match=f"{precision} decides what it stores"):
        exports(tmp_path / "tiny", precision=precision, store="fp16")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(exports, tmp_path, episodes) -> None:
    told = []
    exports(tmp_path / "tiny", told=lambda *step: told.append(step))
    steps = [
        ("factorise", 0, 4),
        ("write graphs", 1, 4),
        ("write bundle", 3, 4),
        ("write bundle", 4, 4),
    ]
    assert told == steps + [("parity", n, len(episodes)) for n in range(1, len(episodes) + 1)]


def test_the_size_and_operations_that_were_asked_for(
    checkpoint, episodes, tmp_path, monkeypatch, graphs
) -> None:
    asked = []

    def export_stages(stages, custom):
        asked.append((stages.size, stages.grid, custom))
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "export_stages", export_stages)
    for options in (
        exporter.ExportOptions(),
        exporter.ExportOptions(size=97, custom_operators=False),
    ):
        with pytest.raises(KeyboardInterrupt):
            exporter.export_bundle(checkpoint, "", tmp_path / "tiny", episodes, "", options)
    assert asked == [(65, (9, 9), True), (97, (13, 13), False)]
