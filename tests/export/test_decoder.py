"""What a query costs, in multiply-adds: the design's count, not more."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from arnet.config_file import load_config
from arnet.export.stages import factorise
from arnet.modeling import ARNet

SIZE, GRID, CHANNELS, WIDTH = 65, 9, 384, 32  # of a ResNet-18 whose features are not reduced


def multiply_adds(function, *inputs):
    """Multiply-adds of a call, those of its convolutions, and its results, on no device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        results = function(*inputs)
    counts = counter.get_flop_counts()["Global"]
    convolutions = sum(count for operator, count in counts.items() if "conv" in str(operator))
    return counter.get_total_flops() // 2, convolutions // 2, results


def zeros(*shape):
    return torch.zeros(*shape, device="meta")


class Counted:
    """The stages of a model, and their multiply-adds."""

    def __init__(self, model: ARNet, size: int) -> None:
        self.size, self.stages = size, factorise(model, size)
        self.model = model.to("meta")
        for module in self.stages.modules.values():
            module.to("meta")

    def stage(self, name, *inputs):
        total, _, results = multiply_adds(self.stages.modules[name], *inputs)
        names = self.stages.outputs(name)
        return total, dict(
            zip(names, results if isinstance(results, tuple) else (results,), strict=True)
        )

    def query(self):
        """Of the stages that see the query alone."""
        image, features = self.stage("encode_image", zeros(1, 3, self.size, self.size))
        products, query = self.stage("encode_query", features["features"])
        return image + products, query, features["features"]

    def decode(self, shots: int, classes: int = 1):
        """Of the whole stage and of its convolutions, for shots in all and classes."""
        _, given, features = self.query()
        _, shot = self.stage("encode_support", features, zeros(1, self.size, self.size))
        given |= {name: tensor.repeat_interleave(shots, dim=0) for name, tensor in shot.items()}
        _, fused = self.stage("fuse_support", given["prototype"])
        given |= {name: tensor.repeat_interleave(classes, dim=0) for name, tensor in fused.items()}
        given["shares"] = zeros(classes, shots)
        inputs = [given[name] for name in self.stages.inputs("decode")]
        return multiply_adds(self.stages.modules["decode"], *inputs)[:2]

    def drawn(self, shots: int):
        """Of the model itself: learning the supports, and a query against what was learned."""
        images, masks = zeros(shots, 3, self.size, self.size), zeros(shots, self.size, self.size)
        learn, _, state = multiply_adds(self.model.encode_support, images, masks)
        query = zeros(1, 3, self.size, self.size)
        return learn, multiply_adds(self.model.segment, query, {"": state})[0]


@pytest.fixture(scope="module")
def counted() -> Counted:
    overrides = ["backbone.name=resnet18", f"channels={WIDTH}", "reduce=false"]
    config = load_config(None, [f"model.{override}" for override in overrides])
    return Counted(ARNet(config.model).eval(), SIZE)


@pytest.fixture(scope="module")
def resnet50() -> Counted:
    return Counted(ARNet(load_config(None, []).model).eval(), 321)


def test_a_shot_costs_the_second_and_third_convolutions_alone(counted) -> None:
    """Two MPMs, each with D to D and D to 1; the rest is masked pooling and the nine taps."""
    places = GRID * GRID
    convolutions = 2 * places * (9 * WIDTH * WIDTH + 9 * WIDTH)
    small = (
        places * CHANNELS  # masked pooling of the query under q1
        + CHANNELS * 9 * WIDTH  # its vector becomes nine values
        + places * 9 * WIDTH  # of which each place takes one
        + places * 9 * WIDTH  # the masked taps, shifted and added
        + places * 5  # means over the shots: q1, and the pairs of four maps
    )
    whole = [counted.decode(shots) for shots in (1, 2, 3, 7, 20)]
    for (total, own), shots in zip(whole, (1, 2, 3, 7, 20), strict=True):
        assert own - whole[0][1] == (shots - 1) * convolutions
        assert total - whole[0][0] == (shots - 1) * (convolutions + small)


def test_a_class_costs_its_refinement_without_the_first_convolution(counted) -> None:
    """That of the model as drawn, less the convolution over [F_q; f_u(V)], which is shared."""
    places, mrm = GRID * GRID, counted.model.mrm
    inputs = zeros(1, CHANNELS, GRID, GRID), zeros(1, CHANNELS), zeros(1, 4, GRID, GRID)
    drawn = multiply_adds(mrm, *inputs)[0]
    shared = places * 9 * 2 * CHANNELS * WIDTH
    a_logit = places * WIDTH  # of the two, the margin is one
    nine_values = places * 9 * WIDTH
    each = drawn - shared - a_logit + nine_values
    base = counted.decode(6)[0]
    for classes in (2, 3, 6):
        means = (classes - 1) * 6 * places * 5
        assert counted.decode(6, classes)[0] - base == (classes - 1) * each + means


def test_the_stages_of_the_query_are_two_convolutions_after_the_backbone(counted) -> None:
    places = GRID * GRID
    total, query, features = counted.query()
    backbone = counted.stage("encode_image", zeros(1, 3, SIZE, SIZE))[0]
    stacked = places * 9 * CHANNELS * (2 * WIDTH)  # MPM1 and the MRM
    taps = places * CHANNELS * 9 * WIDTH  # MPM2
    assert total - backbone == stacked + taps
    assert {tensor.shape[0] for tensor in (*query.values(), features)} == {1}  # whatever k is


def test_what_the_factorisation_saves(resnet50) -> None:
    """ResNet-50 with the paper's widths, five shots: per query, and with the supports anew."""
    learn, cached = resnet50.drawn(5)
    factorised = resnet50.query()[0] + resnet50.decode(5)[0]
    assert (learn + cached) / factorised > 3.5
    assert cached / factorised > 1.6
    # The model as drawn pays for every shot what the stages pay once.
    drawn = cached - resnet50.drawn(1)[1]
    shots = resnet50.decode(5)[0] - resnet50.decode(1)[0]
    assert drawn / shots > 2.5
    assert resnet50.decode(5)[1] - resnet50.decode(1)[1] > 0.99 * shots
    # Fusing the vectors of a class is not worth counting.
    vectors = zeros(5, resnet50.stages.modules["fuse_support"].fusion.weight.shape[2])
    assert 0 < resnet50.stage("fuse_support", vectors)[0] < 0.001 * factorised
