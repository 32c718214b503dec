"""The stages are the model: for every configuration, on any number of shots and classes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from arnet.checkpoint import load_checkpoint
from arnet.data.transforms import prepare
from arnet.export.stages import factorise
from arnet.runtime.supports import read_supports

BOUND = 1e-5
FAR = 1000 * BOUND
CONFIGURATIONS = [
    (),
    ("share_mpm=true",),
    ("cbam=residual",),
    ("cbam=none",),
    ("pooling=map",),
    ("reduce=false",),
    ("norm=batch",),
    ("norm=batch", "share_mpm=true", "reduce=false", "pooling=map"),
    ("mask=hard",),
    ("masked_features=false",),
    ("refine_vector=predicted",),
    ("fusion=attention",),
    ("fusion=attention", "refine_vector=predicted"),
    ("fusion=mask",),
    ("fusion=mean",),
    ("fusion=mean", "refine_vector=predicted"),
    ("fusion=mask", "refine_vector=predicted"),
    ("pairing=concatenate", "pairing_shots=2"),
    ("pairing=concatenate", "pairing_shots=2", "fusion=attention"),
    ("prior=10",),
    ("prior=10", "fusion=mask", "pooling=map"),
    ("prior=10", "pairing=concatenate", "pairing_shots=2"),
    ("prior=10", "without=[mpm1]", "backbone.layers=[layer2]"),
    ("cmm_dilations=[1]", "cmm_kernel=3"),
    ("without=[mpm1]",),
    ("without=[mpm2]",),
    ("without=[mrm]",),
    ("without=[mpm1, mpm2]",),
    ("without=[mpm2, mrm]",),
    ("without=[mpm2]", "refine_vector=predicted"),
    ("without=[mpm2]", "fusion=mask"),
    ("without=[mpm1]", "masked_features=false"),
    ("backbone.output_stride=16",),
    ("backbone.layers=[layer2]",),
    ("backbone.layers=[layer3]",),
    ("backbone.name=resnet50", "backbone.stride_in_1x1=true"),
    ("backbone.name=resnet101",),
]


def overrides(configuration):
    return [f"model.{override}" for override in configuration]


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: " ".join(c) or "default")
def test_the_stages_are_the_model(configuration, random_model, make_task, drive, draw, gap) -> None:
    model = random_model(*overrides(configuration))
    pair = factorise(model, 65).layout.shots
    tasks = [(65, (pair, pair))] if pair else [(65, (1,)), (65, (2, 10)), (81, (5,))]
    for size, shots in tasks:
        stages, task = factorise(model, size), make_task(shots, size)
        expected = draw(model, task)
        assert gap(drive(stages, task), expected) < BOUND
        assert all(maps.std() > 0.02 * maps.abs().max() for maps in expected.values())
    # The negative control: another task is another answer.
    assert gap(drive(stages, make_task(shots, size, seed=1)), expected) > FAR


def test_a_model_of_odd_and_smallest_size(random_model, make_task, drive, draw, gap) -> None:
    model = random_model()
    for size in (33, 34, 47, 98, 129):
        task = make_task((3,), size)
        assert gap(drive(factorise(model, size), task), draw(model, task)) < BOUND


def test_the_trained_model_and_photographs(repository, make_task, drive, draw, gap) -> None:
    model = load_checkpoint(repository / "weights" / "arnet-r18.safetensors").model
    stages = factorise(model, 161)
    read = read_supports(repository / "examples" / "horse")
    prepared = [prepare(support.image, support.mask, 161) for support in read]
    images = torch.stack([image for image, _ in prepared])
    masks = torch.stack([(mask == 1).float() for _, mask in prepared])
    for shots in (1, 2, 4):
        task = replace(
            make_task(), query=images[4:], images=[images[:shots]], masks=[masks[:shots]]
        )
        expected = draw(model, task)
        assert gap(drive(stages, task), expected) < BOUND
        assert 0.01 < (expected["margins"] > 0).float().mean() < 0.9


class TestAFaultIsSeen:
    """Each of these differs from the model by far more than rounding."""

    @pytest.fixture
    def answers(self, random_model, make_task, drive, draw, gap):
        """The difference from the model after a change to the stages."""

        def differs(change, shots=(5,), *configuration):
            model = random_model(*overrides(configuration))
            stages, task = factorise(model, 65), make_task(shots)
            expected = draw(model, task)
            assert gap(drive(stages, task), expected) < BOUND
            change(stages.modules)
            return gap(drive(stages, task), expected)

        return differs

    def test_shots_in_another_order(self, answers) -> None:
        def reverse(modules) -> None:
            modules["fuse_support"].register_forward_pre_hook(lambda _, given: (given[0].flip(0),))

        assert answers(reverse) > FAR
        assert answers(reverse, (1, 1)) < BOUND  # one shot has no order

    def test_rows_and_columns_of_the_border_in_place_of_each_other(self, answers) -> None:
        def transpose(modules) -> None:
            for module in [*modules["encode_support"].modules(), *modules["decode"].modules()]:
                if hasattr(module, "places") and isinstance(module.places, torch.Tensor):
                    places = module.places.unflatten(0, (3, 3))
                    module.places = places.transpose(0, 1).flatten(0, 1).contiguous()

        assert answers(transpose) > FAR

    @pytest.mark.parametrize("order", ["transposed", "reversed"])
    def test_taps_in_another_order(self, answers, order) -> None:
        def reorder(modules) -> None:
            weight = modules["encode_query"].taps.weight
            taps = weight.data.unflatten(0, (3, 3, -1))
            taps = taps.transpose(0, 1) if order == "transposed" else taps.flip(0, 1)
            weight.data = taps.flatten(0, 2).contiguous()

        assert answers(reorder) > FAR

    def test_a_normalisation_that_is_not_folded(self, random_model, make_task, drive, draw, gap):
        model, task = random_model("model.norm=batch"), make_task()
        other = copy.deepcopy(model)
        other.mpm[0].conv1[1].running_mean += 0.1
        assert gap(drive(factorise(model, 65), task), draw(other, task)) > FAR


def test_the_model_itself_stays_as_it_is(random_model, make_task, draw) -> None:
    model, task = random_model("model.norm=batch"), make_task()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    answer = draw(model, task)
    stages = factorise(model, 65)
    for module in stages.modules.values():
        for tensor in module.state_dict().values():
            tensor.zero_()
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(answer[name], maps) for name, maps in draw(model, task).items())


def test_stages_are_ready_to_be_exported(stages) -> None:
    assert stages.size == 65 and stages.grid == (9, 9)
    assert list(stages.modules) == [
        "encode_image", "encode_support", "fuse_support", "encode_query", "decode"
    ]  # fmt: skip
    for module in stages.modules.values():
        assert not module.training
        for tensor in module.state_dict().values():
            assert tensor.dtype == torch.float32 and not tensor.requires_grad


def test_a_class_does_not_change_another(stages, make_task, drive, gap) -> None:
    task = make_task((3, 1, 2))
    together = drive(stages, task)
    starts = np.cumsum([0, 3, 1, 2])
    for number in range(3):
        one = replace(task, images=[task.images[number]], masks=[task.masks[number]])
        alone = drive(stages, one)
        own = slice(starts[number], starts[number + 1])
        expected = {
            "margins": together["margins"][number][None],
            "first": together["first"][number][None],
            "supports": together["supports"][own],
        }
        assert gap(alone, expected) < BOUND
    assert not torch.allclose(together["margins"][0], together["margins"][1], rtol=0.01)
