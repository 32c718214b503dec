"""TensorRT plans in the manifest: optional, and read as strictly as the rest."""

import json
from dataclasses import replace

import pytest

from arnet.runtime.bundle import (
    CheckpointInfo,
    FileInfo,
    Manifest,
    PlanSet,
    PlanStage,
    Precision,
    Preprocessing,
    Stage,
)
from arnet.runtime.bundle.plans import HARDWARE, PRECISIONS
from arnet.runtime.errors import BundleError

PLANS = PlanSet(
    precision="fp16",
    tensorrt="11.4.0.106",
    cuda="13.0",
    driver="580.65.06",
    gpu="NVIDIA H200",
    capability=(9, 0),
    hardware="same-capability",
    version_compatible=False,
    plugins=("MaskedPool",),
    shots=(1, 5, 10),
    classes=(1, 1, 4),
    stages={"decode": PlanStage("decode.sm90.plan", {"float16": 12, "float32": 3})},
)
WITHOUT = Manifest(
    producer="arnet 0.1.0",
    name="arnet-r18",
    checkpoint=CheckpointInfo("arnet-r18.safetensors", "0" * 64),
    image_size=321,
    feature_size=(41, 41),
    preprocessing=Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    precision=Precision("fp16", {}, "fp16"),
    custom_operators=True,
    opset=20,
    classes_together=True,
    shots=None,
    stages={"decode": Stage("decode.onnx", (), ())},
    files={name: FileInfo("a" * 64, 1) for name in ("decode.onnx", "decode.sm90.plan")},
)
WITH = replace(WITHOUT, plans=(PLANS,))


def changed(*keys, value=None, drop=False) -> bytes:
    """The manifest with plans as JSON, with one value replaced, added or left out."""
    document = json.loads(WITH.to_json())
    *path, last = keys
    place = document
    for key in path:
        place = place[key]
    if drop:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("hardware", HARDWARE)
def test_what_is_written_is_read(precision, hardware) -> None:
    other = replace(PLANS, precision=precision, hardware=hardware, plugins=())
    manifest = replace(WITH, plans=(PLANS, other))
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_bundle_without_plans_has_the_keys_it_always_had() -> None:
    assert "plans" not in json.loads(WITHOUT.to_json())
    assert Manifest.from_json(WITHOUT.to_json()).plans == ()
    assert Manifest.from_json(changed("plans", value=[])).plans == ()


def test_the_json_is_that_of_the_format() -> None:
    (document,) = json.loads(WITH.to_json())["plans"]
    assert document == {
        "precision": "fp16",
        "tensorrt": "11.4.0.106",
        "cuda": "13.0",
        "driver": "580.65.06",
        "gpu": "NVIDIA H200",
        "capability": [9, 0],
        "hardware": "same-capability",
        "version_compatible": False,
        "plugins": ["MaskedPool"],
        "shots": [1, 5, 10],
        "classes": [1, 1, 4],
        "stages": {"decode": {"file": "decode.sm90.plan", "built": {"float16": 12, "float32": 3}}},
    }


KEYS = [("plans", 0, key) for key in json.loads(WITH.to_json())["plans"][0]] + [
    ("plans", 0, "stages", "decode", key) for key in ("file", "built")
]


@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: ".".join(map(str, keys)))
def test_a_missing_key_is_named(keys) -> None:
    with pytest.raises(BundleError, match=f"{keys[-1]}: the key is missing"):
        Manifest.from_json(changed(*keys, drop=True))


@pytest.mark.parametrize("keys", [("plans",), *KEYS], ids=lambda keys: ".".join(map(str, keys)))
@pytest.mark.parametrize("value", [None, [[]], 1e400, -1, 10**30, "\x00", {"x": "y"}])
def test_a_value_that_cannot_be_is_refused_and_named(keys, value) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(changed(*keys, value=value))
    assert str(keys[-1]) in caught.value.message or "Infinity" in caught.value.message


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("plans",), [1], "objects"),
        (("plans",), [{}] * 33, "at most 32"),
        (("plans", 0, "surprise"), 1, "surprise: the key is unknown"),
        (("plans", 0, "stages", "decode", "surprise"), 1, "surprise: the key is unknown"),
        (("plans", 0, "precision"), "fp12", "fp32 or tf32"),
        (("plans", 0, "hardware"), "turing-plus", "same-capability"),
        (("plans", 0, "capability"), [9], "capability"),
        (("plans", 0, "capability"), [9, 0.0], "capability"),
        (("plans", 0, "version_compatible"), 1, "true or false"),
        (("plans", 0, "plugins"), ["MaskedPool", ""], "printable"),
        (("plans", 0, "shots"), [1, 5], "shots"),
        (("plans", 0, "shots"), [0, 5, 10], "shots"),
        (("plans", 0, "shots"), [1, 11, 10], "rising"),
        (("plans", 0, "classes"), [2, 1, 4], "rising"),
        (("plans", 0, "stages"), {}, "stages"),
        (("plans", 0, "stages", "decode", "built"), {"float16": -1}, "float16"),
        (("plans", 0, "stages", "decode", "file"), "other.plan", "does not list"),
        (("plans", 0, "stages", "decode", "file"), "../decode.plan", "inside a bundle"),
        (("plans", 0, "stages", "postprocess"), {"file": "decode.onnx", "built": {}}, "stages"),
        (("plans", 0, "stages", "encode_image"), {"file": "decode.onnx", "built": {}}, "not have"),
    ],
)
def test_absurd_values(keys, value, named) -> None:
    with pytest.raises(BundleError, match=named):
        Manifest.from_json(changed(*keys, value=value))
