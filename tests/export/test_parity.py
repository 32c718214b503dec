"""The gate: a bundle passes, a bundle with a fault does not."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from arnet.export.bundle import files_of, interface, serialised, write_files
from arnet.export.exporter import judge
from arnet.export.parity import BOUNDS, STAGE_EPISODES, compare
from arnet.runtime.bundle import Manifest
from arnet.runtime.preprocessing import MEAN, STD
from arnet.runtime.segmenter import Segmenter
from arnet.segmenter import TorchSegmenter


@pytest.fixture
def altered(exported, graphs, tmp_path):
    """Writes the bundle with other graphs for some of its stages."""

    def altered(changes, **manifest):
        contents = serialised({**graphs, **changes})
        original = Manifest.from_json((exported.path / "manifest.json").read_bytes())
        stages = original.stages | {name: interface(name, m) for name, m in changes.items()}
        changed = replace(original, files=files_of(contents), stages=stages, **manifest)
        write_files(tmp_path / "altered", contents, changed)
        return tmp_path / "altered"

    return altered


@pytest.fixture
def judged(altered, checkpoint, stages, episodes):
    """What the gate says of the bundle with other graphs."""
    return lambda changes: judge(checkpoint, stages, altered(changes), episodes[::2], "shapes")


def copied(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def swapped_channels(model):
    """Blue is taken for red."""
    model = copied(model)
    for node in model.graph.node:
        node.input[:] = ["swapped" if name == "image" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "order"))
    nodes = [helper.make_node("Gather", ["image", "order"], ["swapped"], axis=2), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def resized_otherwise(model, **options):
    """Photographs by ONNX's own Resize."""
    constants = {
        "size": np.array([65, 65]),
        "mean": 255 * np.array(MEAN, np.float32).reshape(3, 1, 1),
        "std": 255 * np.array(STD, np.float32).reshape(3, 1, 1),
        "batch": np.array([0]),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["floats", "", "", "size"], ["square"], axes=[1, 2], **options),
        helper.make_node("Sub", ["square", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "batch"], ["pixels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "preprocess",
        model.graph.input,
        model.graph.output,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def changed_weight(model, part, change):
    """The first initializer with ``part`` in its name, changed."""
    model = copied(model)
    tensor = next(tensor for tensor in model.graph.initializer if part in tensor.name)
    values = change(numpy_helper.to_array(tensor).copy()).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def instead_of(model, output, *nodes):
    """The output of a graph, computed by further nodes from what it was, which is called "was"."""
    model = copied(model)
    for node in model.graph.node:
        node.input[:] = ["was" if name == output else name for name in node.input]
        node.output[:] = ["was" if name == output else name for name in node.output]
    model.graph.node.extend(nodes)
    return model


def with_more(model, output):
    """A hundredth more in one output of a graph, after all that depends on it."""
    one = helper.make_node("Constant", [], ["more"], value_float=0.01)
    return instead_of(model, output, one, helper.make_node("Add", ["was", "more"], [output]))


def with_classes_swapped(model):
    """The first class gets the margins of the last; those of a single class are as they were."""
    numbers = {"from": [-1], "to": [-(2**31)], "axis": [0], "step": [-1]}
    nodes = [helper.make_node("Constant", [], [n], value_ints=v) for n, v in numbers.items()]
    swap = helper.make_node("Slice", ["was", *numbers], ["margins"])
    return instead_of(model, "margins", *nodes, swap)


def with_mode(model, mode):
    model = copied(model)
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    next(a for a in resize.attribute if a.name == "mode").s = mode.encode()
    return model


FAULTS = {
    "channels": ("preprocess", swapped_channels),
    "nearest": ("preprocess", lambda m: resized_otherwise(m, mode="nearest")),
    "no antialiasing": ("preprocess", lambda m: resized_otherwise(m, mode="linear")),
    "pixel corners": (
        "preprocess",
        lambda m: resized_otherwise(
            m, mode="linear", antialias=1, coordinate_transformation_mode="align_corners"
        ),
    ),
    "backbone": ("encode_image", lambda m: changed_weight(m, "conv1.weight", lambda w: 1.02 * w)),
    "taps": (
        "encode_query",
        lambda m: changed_weight(
            m, "taps.weight", lambda w: w.reshape(3, 3, -1).swapaxes(0, 1).reshape(w.shape)
        ),
    ),
    "one bias": ("decode", lambda m: changed_weight(m, "classify.bias", lambda w: w + 0.01)),
    "enlarged by the nearest": ("postprocess", lambda m: with_mode(m, "nearest")),
}


def test_the_bundle_passes(exported, episodes) -> None:
    parity = exported.parity
    assert parity.passed and parity.failures == ()
    assert parity.episodes == len(episodes) == 6 and parity.source == "square, disc"
    assert parity.precision == "fp32" and parity.bounds == BOUNDS["fp32"]
    assert 0 < parity.probability_p99 <= parity.probability_largest < 1e-4
    assert parity.changed <= parity.changed_most < 1e-4
    assert parity.mask_iou >= parity.mask_iou_least > 0.999
    assert parity.mean_iou["model"] == pytest.approx(parity.mean_iou["bundle"], abs=0.01)
    assert 5 < parity.mean_iou["model"] < 95
    assert parity.others_largest.keys() == {"q1", "s"}
    assert all(0 < largest < 1e-4 for largest in parity.others_largest.values())
    assert parity.together < 1e-4


def test_every_output_of_every_stage_is_compared(exported, graphs) -> None:
    found = {(stage.stage, stage.tensor) for stage in exported.parity.stages}
    assert found == {
        (name, value.name) for name, model in graphs.items() for value in model.graph.output
    }
    assert len(found) == len(exported.parity.stages)
    for stage in exported.parity.stages:
        assert 0 <= stage.p99 <= stage.largest < 1e-4 * max(stage.scale, 1)
        assert stage.scale > 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails(fault, judged, graphs) -> None:
    stage, change = FAULTS[fault]
    parity = judged({stage: change(graphs[stage])})
    assert not parity.passed
    assert parity.probability_largest > 5 * BOUNDS["fp32"].probability
    assert "a probability differs by" in parity.failures[0]
    # Every stage is given what the model gives it: the difference is where the fault is.
    by_stage = {
        name: max(s.largest / s.scale for s in parity.stages if s.stage == name) for name in graphs
    }
    assert max(by_stage, key=by_stage.get) == stage
    assert all(largest < 1e-4 for name, largest in by_stage.items() if name != stage)


def test_changed_masks_and_miou_fail_too(judged, graphs) -> None:
    large = changed_weight(graphs["decode"], "classify.bias", lambda w: w + 20)
    parity = judged({"decode": large})
    assert len(parity.failures) == 4
    assert "% of the pixels changed" in parity.failures[1]
    assert parity.changed > 0.3 and parity.changed_most >= parity.changed
    assert "changed with two classes at once" in parity.failures[2]
    assert "mIoU changes by" in parity.failures[3]
    assert parity.mean_iou["model"] != parity.mean_iou["bundle"]
    assert parity.mask_iou_least < parity.mask_iou < 1


@pytest.mark.parametrize(("output", "mask"), [("first", "q1"), ("supports", "s")])
def test_the_other_masks_fail_alone(output, mask, judged, graphs) -> None:
    """What they are is seen in --figure, and q2 is right."""
    parity = judged({"decode": with_more(graphs["decode"], output)})
    (failure,) = parity.failures
    assert failure.startswith(f"a probability of {mask} differs by 0.00")
    assert parity.probability_largest < 1e-4 < parity.others_largest[mask]


def test_classes_that_are_mixed_up_fail(judged, graphs, episodes) -> None:
    """Each alone is right; that two are asked for in one photograph is what shows it."""
    assert {episode.label for episode in episodes[::2]} == {"square", "disc"}
    parity = judged({"decode": with_classes_swapped(graphs["decode"])})
    (failure,) = parity.failures
    assert "% of the pixels changed with two classes at once, at most 0.02 % may" in failure
    assert parity.probability_largest < 1e-4 and parity.changed < 1e-4 < parity.together
    assert parity.to_json()["together"] == parity.together


def test_numbers_that_are_none_fail(judged, graphs) -> None:
    """Where every comparison with a bound is false."""
    broken = changed_weight(graphs["decode"], "classify.bias", lambda w: w * np.nan)
    parity = judged({"decode": broken})
    assert not parity.passed
    assert parity.probability_largest == parity.changed == parity.together == 1
    json.dumps(parity.to_json(), allow_nan=False)  # the report can be written


def test_half_precision_is_judged_by_its_own_bounds(
    altered, half_graphs, checkpoint, stages, episodes
) -> None:
    bundle = Segmenter.load(altered(half_graphs), engine="onnx")
    model = TorchSegmenter(checkpoint, "checkpoint", "cpu", 65)
    verdicts = {
        precision: compare(model, stages, bundle, precision, episodes[:3], "shapes")
        for precision in ("fp32", "fp16")
    }
    assert not verdicts["fp32"].passed
    assert verdicts["fp32"].probability_largest == verdicts["fp16"].probability_largest > 1e-4
    assert not any("probability" in failure for failure in verdicts["fp16"].failures)
    assert verdicts["fp16"].changed < BOUNDS["fp16"].changed


def test_the_precision_of_the_manifest_chooses_the_bounds(
    altered, half_graphs, exported, checkpoint, stages, episodes
) -> None:
    precision = Manifest.from_json((exported.path / "manifest.json").read_bytes()).precision
    folder = altered(half_graphs, precision=replace(precision, requested="fp16"))
    found = judge(checkpoint, stages, folder, episodes[:1], "shapes")
    assert found.precision == "fp16" and found.bounds == BOUNDS["fp16"]


def test_stages_are_compared_in_the_first_episodes_and_progress_is_told(
    exported, checkpoint, stages, episodes
) -> None:
    told = []
    bundle = Segmenter.load(exported.path, engine="onnx")
    model = TorchSegmenter(checkpoint, "checkpoint", "cpu", 65)

    def judge_with(count):
        return compare(
            model, stages, bundle, "fp32", episodes[:count], "", lambda *step: told.append(step)
        )

    few, many = judge_with(STAGE_EPISODES), judge_with(STAGE_EPISODES + 1)
    assert few.stages == many.stages
    assert told == [(1, 3), (2, 3), (3, 3), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert few.episodes == 3 and many.episodes == 4


def test_the_report_is_plain_json(exported) -> None:
    parity = exported.parity
    values = json.loads(json.dumps(parity.to_json(), allow_nan=False))
    assert values["passed"] is True and values["failures"] == []
    assert values["bounds"] == {"probability": 1e-4, "changed": 1e-4, "mean_iou": 0.1}
    assert values["stages"][0].keys() == {"stage", "tensor", "largest", "p99", "scale"}
    failed = replace(parity, failures=("something",))
    assert failed.to_json()["passed"] is False
