"""The stages with our kernels give the checkpoint's masks, wherever and however they run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from arnet.export.acceleration import REPLACEABLE
from arnet.export.operators import operators_of
from arnet.export.torch_kernels import Options, TorchKernels, ablations
from arnet.runtime.errors import ConfigError
from arnet.segmenter import TorchSegmenter

KINDS = ("probability", "first", "supports")


def answer(segmenter, episodes):
    """Two classes, of two shots and of one."""
    states = {
        "square": segmenter.learn(episodes[0].images, episodes[0].masks),
        "disc": segmenter.learn(episodes[3].images[:1], episodes[3].masks[:1]),
    }
    return segmenter.segment(episodes[0].query, states)


def gap(found, expected) -> float:
    return max(
        float(np.abs(getattr(found.classes[label], kind) - getattr(masks, kind)).max())
        for label, masks in expected.classes.items()
        for kind in KINDS
    )


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        (Options(), 1e-4),
        (Options(without=REPLACEABLE), 1e-4),
        (Options(graphs="none"), 1e-4),
        (Options(precision="fp16"), 2e-2),
    ],
)
def test_the_masks_are_those_of_the_checkpoint(options, bound, checkpoint_file, episodes) -> None:
    reference = TorchSegmenter.load(checkpoint_file, "cpu")
    expected = answer(reference, episodes)
    segmenter = TorchKernels(reference.model, reference.size, "cpu", options)
    found = answer(segmenter, episodes)
    assert list(found.classes) == ["square", "disc"]
    assert gap(found, expected) < bound
    other = expected.classes["disc"].probability  # the negative control
    assert np.abs(found.classes["square"].probability - other).max() > 0.01


def test_nothing_of_the_operations_is_left_but_what_was_asked_for(checkpoint) -> None:
    with_all = TorchKernels(checkpoint.model, 65, "cpu")
    names = {type(o).__name__ for m in with_all.modules.values() for o in operators_of(m)}
    assert names == {"KernelPool", "KernelShiftSum"}
    without = TorchKernels(checkpoint.model, 65, "cpu", Options(without=("masked_pool",)))
    names = {type(o).__name__ for m in without.modules.values() for o in operators_of(m)}
    assert names == {"MaskedPool", "KernelShiftSum"}
    assert "masked_pool" not in without.describe()["kernels"]
    assert {name: set(o.without) for name, o in ablations(Options()).items() if o.without} == {
        **{f"no {name}": {name} for name in REPLACEABLE},
        "no kernels": set(REPLACEABLE),
    }


def test_a_mask_that_only_the_pooling_wants_is_averaged_before_it(
    random_model, make_task, drive, draw, gap
) -> None:
    model, task = random_model("model.masked_features=false"), make_task((2, 1))
    runs = TorchKernels(model, 65, "cpu")
    names = [type(o).__name__ for o in operators_of(runs.modules["encode_support"])]
    assert names == ["KernelPool"]
    stages = replace(runs.stages, modules=runs.modules)
    assert gap(drive(stages, task), draw(model, task)) < 1e-5
    without = TorchKernels(model, 65, "cpu", Options(without=("masked_pool",)))
    names = [type(o).__name__ for o in operators_of(without.modules["encode_support"])]
    assert names == ["MaskedPoolResized"]


def test_photographs_of_two_sizes_and_other_classes_do_not_get_each_others_answers(
    checkpoint, episodes
) -> None:
    segmenter = TorchKernels(checkpoint.model, 65, "cpu")
    states = [segmenter.learn(e.images, e.masks) for e in (episodes[0], episodes[3])]
    for _ in range(2):
        for episode in (episodes[0], episodes[3]):
            for state in states:
                found = segmenter.segment(episode.query, {"": state}).classes[""].probability
                alone = TorchKernels(checkpoint.model, 65, "cpu")
                expected = alone.segment(episode.query, {"": state}).classes[""].probability
                np.testing.assert_array_equal(found, expected)


def to_a_gpu_that_is_not_there(module: nn.Module) -> None:
    for child in module.modules():
        for tensors in (child._parameters, child._buffers):
            for name, value in list(tensors.items()):
                if value is not None:
                    tensors[name] = torch.empty_strided(
                        value.shape, value.stride(), dtype=value.dtype, device="cuda"
                    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("without", [(), REPLACEABLE], ids=["kernels", "no kernels"])
@pytest.mark.parametrize(
    "changed",
    [(), ("model.prior=5",), ("model.without=[mpm1]",), ("model.without=[mpm2]",)],
    ids=str,
)
def test_on_a_gpu_nothing_is_left_on_the_processor(
    changed, precision, without, random_model, episodes
) -> None:
    """With tensors that have a device and no values: any mixture would be refused."""
    options = Options(precision=precision, without=without)
    segmenter = TorchKernels(random_model(*changed), 65, "cpu", options)
    dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
    with FakeTensorMode(), torch.inference_mode():
        segmenter.device = torch.device("cuda", 0)
        for module in (*segmenter.modules.values(), segmenter.prepare):
            to_a_gpu_that_is_not_there(module)
        states = [segmenter.learn(e.images, e.masks) for e in (episodes[0], episodes[3])]
        tensors = {"image": torch.empty(60, 80, 3, dtype=torch.uint8, device="cuda")}
        for name, step in segmenter.steps(states, (60, 80)):
            found = dict(step(tensors))
            assert {tensor.device.type for tensor in found.values()} == {"cuda"}, name
            tensors.update(found)
        assert tensors["labels"].shape == (60, 80)
        assert tensors["features"].dtype == dtype
        # As the kernel and the convolutions read them: nothing has to be copied.
        joined = segmenter.joined(states)
        maps = [tensors.get("features"), tensors.get("query_taps"), joined.get("self")]
        for tensor in (one for one in maps if one is not None):
            assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_what_it_cannot_do_is_told(checkpoint, random_model) -> None:
    with pytest.raises(ConfigError, match="no kernel abacus"):
        TorchKernels(checkpoint.model, 65, "cpu", Options(without=("abacus",)))
    with pytest.raises(ConfigError, match="decodes all classes together"):
        TorchKernels(random_model("model.fusion=attention"), 65, "cpu")
