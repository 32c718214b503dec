"""The manifest is read strictly, and what was built is what is read."""

import json
from dataclasses import replace

import pytest

from arnet.runtime.bundle import (
    MAX_BYTES,
    CheckpointInfo,
    FileInfo,
    Manifest,
    Precision,
    Preprocessing,
    Stage,
    TensorInfo,
)
from arnet.runtime.errors import BundleError

MANIFEST = Manifest(
    producer="arnet 0.1.0",
    name="arnet-r18",
    checkpoint=CheckpointInfo("arnet-r18.safetensors", "0" * 64),
    image_size=321,
    feature_size=(41, 41),
    preprocessing=Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    precision=Precision("fp32", {"encode_image": {"float32": 12, "int64": 0}}, "fp32"),
    custom_operators=True,
    opset=20,
    classes_together=True,
    shots=None,
    stages={
        "encode_image": Stage(
            "encode_image.onnx",
            (TensorInfo("pixels", "float32", (1, 3, 321, 321)),),
            (TensorInfo("features", "float32", ("T", 256, 41, 41)),),
        )
    },
    files={
        "encode_image.onnx": FileInfo("a" * 64, 123),
        "notes/é.md": FileInfo("b" * 64, 0),
    },
    parity={"bound": 1e-4, "stages": [None, True, "x"]},
)


def changed(*keys, value=None, drop=False) -> bytes:
    """The manifest as JSON with one value replaced, added or left out."""
    document = json.loads(MANIFEST.to_json())
    *path, last = keys
    place = document
    for key in path:
        place = place[key]
    if drop:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("shots", [None, 5])
@pytest.mark.parametrize("fused_shots", [None, 8])
@pytest.mark.parametrize("parity", [None, {"a": {"b": 0.5}}])
def test_what_is_written_is_read(shots, fused_shots, parity) -> None:
    manifest = replace(MANIFEST, shots=shots, fused_shots=fused_shots, parity=parity)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json()).to_json() == manifest.to_json()


def test_the_json_is_that_of_the_format() -> None:
    document = json.loads(MANIFEST.to_json())
    assert list(document)[:4] == ["format", "schema_version", "producer", "name"]
    assert document["format"] == "arnet-bundle"
    assert document["stages"]["encode_image"] == {
        "file": "encode_image.onnx",
        "inputs": [{"name": "pixels", "dtype": "float32", "shape": [1, 3, 321, 321]}],
        "outputs": [{"name": "features", "dtype": "float32", "shape": ["T", 256, 41, 41]}],
    }
    assert document["preprocessing"] == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "channels": "RGB",
        "resize": "bilinear",
        "antialias": True,
        "half_pixel": True,
        "mask_resize": "nearest",
    }
    assert document["files"]["encode_image.onnx"] == {"sha256": "a" * 64, "bytes": 123}


def test_a_number_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(MANIFEST, parity={"largest": float("nan")}).to_json()


def test_a_newer_schema_asks_for_an_update() -> None:
    with pytest.raises(BundleError, match=r"schema version 2.* reads 1") as caught:
        Manifest.from_json(changed("schema_version", value=2))
    assert "update arnet" in caught.value.hint


def every_key(value, path=()):
    """Paths of all keys that the format prescribes."""
    free = {("parity",), ("files",), ("stages",), ("precision", "built")}
    if isinstance(value, dict) and path not in free:
        for key, inner in value.items():
            yield (*path, key)
            yield from every_key(inner, (*path, key))
    elif isinstance(value, dict) and path != ("parity",):
        for key, inner in value.items():
            if path != ("precision", "built"):
                yield from every_key(inner, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from every_key(value[0], (*path, 0))


KEYS = list(every_key(json.loads(MANIFEST.to_json())))


def test_the_keys_below_are_all_there_are() -> None:
    assert len(KEYS) == 41
    assert ("stages", "encode_image", "inputs", 0, "dtype") in KEYS


@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: ".".join(map(str, keys)))
def test_a_missing_key_is_named(keys) -> None:
    with pytest.raises(BundleError, match=f"{keys[-1]}: the key is missing"):
        Manifest.from_json(changed(*keys, drop=True))


@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: ".".join(map(str, keys)))
@pytest.mark.parametrize("value", [[[]], 1e400, -1, 10**30, "\x00", {"x": 1}])
def test_a_value_that_cannot_be_is_refused_and_named(keys, value) -> None:
    if keys == ("parity",) and value == {"x": 1}:
        return
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(changed(*keys, value=value))
    assert str(keys[-1]) in caught.value.message or "Infinity" in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "keys",
    [(), ("checkpoint",), ("preprocessing",), ("precision",), ("stages", "encode_image"),
     ("stages", "encode_image", "inputs", 0), ("files", "encode_image.onnx")],
    ids=str,
)  # fmt: skip
def test_an_unknown_key_is_named(keys) -> None:
    with pytest.raises(BundleError, match="surprise: the key is unknown"):
        Manifest.from_json(changed(*keys, "surprise", value=1))


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("shots",), True, "shots"),
        (("image_size",), 321.0, "image_size"),
        (("image_size",), 10**6, "image_size"),
        (("feature_size",), [41], "feature_size"),
        (("preprocessing", "std"), [0.2, 0.2, 0], "std"),
        (("preprocessing", "resize"), "bicubic", "resize"),
        (("custom_operators",), 1, "custom_operators"),
        (("stages", "encode_image", "inputs", 0, "dtype"), "complex64", "dtype"),
        (("stages", "encode_image", "inputs", 0, "shape"), [1] * 9, "shape"),
        (("stages", "encode_image", "inputs", 0, "shape"), [0], "shape"),
        (("stages", "encode_image", "file"), "other.onnx", "does not list"),
        (("stages", "encode_image", "file"), "../encode_image.onnx", "inside a bundle"),
        (("files", "encode_image.onnx", "sha256"), "A" * 64, "sha256"),
        (("files", "encode_image.onnx", "bytes"), MAX_BYTES + 1, "bytes"),
        (("files", "manifest.json"), {"sha256": "0" * 64, "bytes": 1}, "lists itself"),
        (("files", "big"), {"sha256": "0" * 64, "bytes": MAX_BYTES}, "at most"),
    ],
)
def test_absurd_values(keys, value, named) -> None:
    with pytest.raises(BundleError, match=named):
        Manifest.from_json(changed(*keys, value=value))


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../b", "a//b", "a/", "", ".", "C:\\x", "C:x", "a\\b", "a\nb",
     "\ud800", "x" * 201, "nul\x00"],
)  # fmt: skip
def test_a_file_name_that_leaves_the_bundle(name) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(changed("files", name, value={"sha256": "0" * 64, "bytes": 1}))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 10**5,
     b'{"format": "arnet-bundle", "format": "arnet-bundle"}', b"1" * 5000],
    ids=lambda data: data[:12].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_json_object(data) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Manifest.from_json(data)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_number_that_is_not_finite_is_not_read_anywhere(number) -> None:
    data = MANIFEST.to_json().replace(b"0.0001", number)
    assert data != MANIFEST.to_json()
    with pytest.raises(BundleError, match="not a finite number"):
        Manifest.from_json(data)


def test_repeated_keys_are_told_even_if_all_is_well() -> None:
    data = MANIFEST.to_json().replace(b'"opset": 20', b'"opset": 19, "opset": 20')
    with pytest.raises(BundleError, match="twice"):
        Manifest.from_json(data)


def test_two_tensors_of_one_name() -> None:
    tensor = {"name": "a", "dtype": "float32", "shape": [1]}
    with pytest.raises(BundleError, match="different names"):
        Manifest.from_json(changed("stages", "encode_image", "outputs", value=[tensor, tensor]))
