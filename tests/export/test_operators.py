"""Our operations are what the model computes in several steps."""

import onnx
import onnxruntime.capi.onnxruntime_pybind11_state as ort
import pytest
import torch

from arnet.export import folding
from arnet.export.operators import (
    DOMAIN,
    ForgetEnhance,
    MaskedPool,
    MaskedPoolResized,
    MaskedShiftSum,
    Operator,
    operators_of,
)
from arnet.export.shot_fusion import ShotFusion
from arnet.export.terms import Places
from arnet.modeling.cmm import CMM
from arnet.modeling.layers import masked_pool, resize_mask

OPERATORS = [
    MaskedPool("area"),
    MaskedPoolResized("area", 17, (3, 3)),
    MaskedShiftSum(Places((3, 3))),
    ForgetEnhance([1]),
]


@pytest.fixture(autouse=True)
def same_chance():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("pooling", ["area", "map"])
@pytest.mark.parametrize("count", [1, 4])
def test_masked_pool_is_that_of_the_model(pooling, count) -> None:
    features, masks = torch.randn(1, 6, 5, 7), torch.rand(count, 1, 5, 7)
    masks[0] = 0  # an empty mask pools to zero
    masks[-1, :, :2] = 1
    found = MaskedPool(pooling)(features, masks)
    expected = masked_pool(features.expand(count, -1, -1, -1), masks, pooling)
    torch.testing.assert_close(found, expected)
    other = masked_pool(
        features.expand(count, -1, -1, -1), masks, {"area": "map", "map": "area"}[pooling]
    )
    assert not torch.allclose(found, other)


@pytest.mark.parametrize("pooling", ["area", "map"])
@pytest.mark.parametrize("count", [1, 4])
def test_masked_pool_resized_averages_the_masks_of_the_image_as_the_model_does(
    pooling, count
) -> None:
    features, masks = torch.randn(1, 6, 5, 7), (torch.rand(count, 1, 33, 33) > 0.4).float()
    masks[0] = 0
    masks[-1, :, :20] = 1
    found = MaskedPoolResized(pooling, 33, (5, 7)).float()(features, masks)
    small = resize_mask(masks[:, 0], (5, 7))
    torch.testing.assert_close(found, MaskedPool(pooling)(features, small))
    assert not torch.allclose(found, MaskedPool(pooling)(features, small.flip(2)), atol=1e-2)


def test_masked_pool_sums_in_float32() -> None:
    """In float16 the sum of 90 000 cells would be infinite."""
    features = torch.full((1, 2, 300, 300), 2.0, dtype=torch.float16)
    found = MaskedPool("area")(features, torch.ones(1, 1, 300, 300))
    assert found.dtype == torch.float16
    assert found.tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("grid", [(5, 7), (2, 2), (3, 4)], ids=str)
def test_masked_shift_sum_is_the_first_convolution(count, grid) -> None:
    """relu(W * [F_s; M ⊗ F_q; f_u(V)] + b) of k masks, as the model convolves it."""
    convolution = torch.nn.Conv2d(3 * 6, 4, 3, padding=1)
    query, masks = torch.randn(1, 6, *grid), torch.rand(count, 1, *grid)
    support, vectors = torch.randn(count, 6, *grid), torch.randn(count, 6)
    tiled = vectors[:, :, None, None].expand(-1, -1, *grid)
    expected = convolution(torch.cat([support, masks * query, tiled], dim=1)).relu()
    taps = folding.taps(folding.part(convolution, 6, 12))(query)
    own = folding.part(convolution, 0, 6, bias=True)(support)
    sums = folding.border_sums(convolution)[:, :, 12:]
    border = torch.einsum("bdc,nc->nbd", sums, vectors)
    operator = MaskedShiftSum(Places(grid).float())
    torch.testing.assert_close(operator(taps, masks, own, border), expected)
    assert not torch.allclose(
        operator(taps, masks.transpose(2, 3).reshape_as(masks), own, border), expected, atol=1e-2
    )


@pytest.mark.parametrize("shots", [1, 2, 5, 10])
@pytest.mark.parametrize("kernel", [2, 3])
def test_forget_enhance_is_the_stack_of_blocks(shots, kernel) -> None:
    cmm = CMM(6, (1, 2, 4), kernel, gate_bias=0.5)
    vectors = torch.randn(shots, 6)
    fusion = ShotFusion(cmm)
    steps = fusion.steps(vectors, fusion.weight, fusion.bias)
    torch.testing.assert_close(steps, cmm.blocks(vectors.T[None])[0].T)
    torch.testing.assert_close(fusion(vectors), cmm(vectors[None]))
    if shots == 1:
        assert torch.equal(fusion(vectors), vectors)  # one shot needs no CMM
        assert not torch.allclose(steps, vectors, atol=1e-2)
    else:
        assert not torch.allclose(fusion(vectors.flip(0)), cmm(vectors[None]), atol=1e-2)


def test_forget_enhance_computes_in_float32_and_answers_in_the_type_of_its_vectors() -> None:
    fusion = ShotFusion(CMM(6))
    vectors = torch.randn(4, 6)
    found = fusion(vectors.half())
    assert found.dtype == torch.float16
    assert torch.equal(found, fusion(vectors.half().float()).half())


def test_names_are_those_of_no_other_operation() -> None:
    standard = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    runtime = {schema.name for schema in ort.get_all_operator_schema()}
    assert {"Conv", "Resize"} <= standard and "FusedConv" in runtime  # these are the lists
    for operator in OPERATORS:
        assert operator.name not in standard | runtime
    assert len({operator.name for operator in OPERATORS}) == len(OPERATORS)
    assert DOMAIN not in {schema.domain for schema in ort.get_all_operator_schema()}


def test_every_operation_is_tested_here() -> None:
    own = {kind for kind in Operator.__subclasses__() if kind.__module__ == Operator.__module__}
    assert {type(operator) for operator in OPERATORS} == own


def test_attributes_are_lists_of_whole_numbers() -> None:
    assert MaskedPool("area").attributes() == {"area": [1]}
    assert MaskedPool("map").attributes() == {"area": [0]}
    assert MaskedPoolResized("map", 17, (3, 3)).attributes() == {"area": [0]}
    assert ForgetEnhance((1, 2, 4)).attributes() == {"dilations": [1, 2, 4]}
    assert MaskedShiftSum(Places((3, 3))).attributes() == {}


def test_operations_of_a_stage_are_found(stages) -> None:
    def names(stage):
        return [operator.name for operator in operators_of(stages.modules[stage])]

    assert names("encode_support") == ["MaskedPool"]
    assert names("fuse_support") == ["ForgetEnhance"]
    assert names("encode_image") == names("encode_query") == []
    assert {"MaskedPool", "MaskedShiftSum"} <= set(names("decode"))
