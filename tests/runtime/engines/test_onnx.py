"""ONNX Runtime runs the stages that the manifest describes, or says why not."""

import gc
import shutil
import threading

import numpy as np
import pytest

from arnet.runtime.bundle import Bundle
from arnet.runtime.engines.onnx import CUDA_PROVIDER, OnnxEngine, open_cpu
from arnet.runtime.errors import BundleError, EngineError

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def engine(shared_bundle):
    return open_cpu(Bundle.open(shared_bundle), threads=1)


def image(*size, dtype=np.uint8):
    return np.arange(np.prod(size)).reshape(size).astype(dtype)


def test_a_stage_is_run(engine) -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[:, :, 0] = 255
    pixels = engine.run("preprocess", {"image": engine.upload(red)})["pixels"]
    found = engine.download(pixels)
    assert found.shape == (1, 3, 33, 33)
    np.testing.assert_allclose(found[0, :, 5, 5], [2, -2, -2], atol=1e-5)


def test_a_value_goes_from_stage_to_stage(engine) -> None:
    value = engine.run("preprocess", {"image": engine.upload(image(9, 7, 3))})["pixels"]
    through = engine.run("encode_image", {"pixels": value})["features"]
    copied = engine.upload(engine.download(value).copy())
    again = engine.run("encode_image", {"pixels": copied})["features"]
    np.testing.assert_array_equal(engine.download(through), engine.download(again))


def test_all_outputs_come_under_their_own_names(engine) -> None:
    features = image(1, 4, 5, 5, dtype=np.float32)
    mask = np.ones((1, 33, 33), np.float32)
    mask[:, :16] = 0
    found = engine.run(
        "encode_support", {"mask": engine.upload(mask), "features": engine.upload(features)}
    )
    np.testing.assert_array_equal(engine.download(found["self"]), features)
    expected = features[0, :, 2:].mean(axis=(1, 2))
    np.testing.assert_allclose(engine.download(found["prototype"])[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "array",
    [image(6, 6, 3)[:, ::-1], image(3, 6, 6).transpose(1, 2, 0), image(6, 12, 3)[:, ::2]],
    ids=["mirrored", "transposed", "strided"],
)
def test_arrays_of_any_memory_layout(array, engine) -> None:
    found = [
        engine.download(engine.run("preprocess", {"image": engine.upload(a)})["pixels"])
        for a in (array, array.copy())
    ]
    np.testing.assert_array_equal(*found)


def test_arrays_outlive_the_values_they_came_from(engine) -> None:
    def compute(seed):
        feeds = {"pixels": engine.upload(np.full((1, 3, 33, 33), seed, np.float32))}
        return engine.download(engine.run("encode_image", feeds)["features"])

    kept = [compute(seed) for seed in range(20)]
    gc.collect()
    assert [float(array[0, 0, 0, 0]) for array in kept] == list(range(20))
    assert all((array[0, 3] == 1).all() for array in kept)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (image(6, 6, 3, dtype=np.float32), r"float32 \(6, 6, 3\)"),
        (image(6, 6, 4), r"uint8 \(6, 6, 4\)"),
        (image(6, 6), r"uint8 \(6, 6\)"),
    ],
)
def test_a_feed_of_another_type_or_shape(array, found, engine) -> None:
    expected = rf"'preprocess' was fed image as {found}; it needs uint8 \((H, W|6, 6), 3\)"
    with pytest.raises(EngineError, match=expected):
        engine.run("preprocess", {"image": engine.upload(array)})


def test_equal_names_of_sizes_mean_equal_sizes(engine) -> None:
    shots, classes = 3, 2
    maps = np.zeros((1, 4, 5, 5), np.float32)
    feeds = {name: maps for name in ("query_features", "query_match", "query_refine")}
    feeds["query_taps"] = np.zeros((1, 36, 5, 5), np.float32)
    feeds["shares"] = np.zeros((classes, shots), np.float32)
    feeds["match"] = feeds["self"] = np.zeros((shots, 4, 5, 5), np.float32)
    feeds["refine"] = np.zeros((classes, 9, 4), np.float32)
    uploaded = {name: engine.upload(array) for name, array in feeds.items()}
    assert engine.download(engine.run("decode", uploaded)["margins"]).shape == (2, 5, 5)
    uploaded["self"] = engine.upload(np.zeros((2, 4, 5, 5), np.float32))
    with pytest.raises(EngineError, match=r"fed self as .*\(2, 4, 5, 5\); .*\(3, 4, 5, 5\)"):
        engine.run("decode", uploaded)


@pytest.mark.parametrize(
    ("stage", "names", "message"),
    [
        ("preprocess", [], "takes image; it was fed nothing"),
        ("preprocess", ["image", "extra"], "takes image; it was fed image, extra"),
        ("unknown", ["image"], "no stage 'unknown'"),
    ],
)
def test_feeds_that_are_missing_or_unknown(stage, names, message, engine) -> None:
    with pytest.raises(EngineError, match=message):
        engine.run(stage, {name: engine.upload(image(6, 6, 3)) for name in names})


def test_a_computation_that_fails(engine) -> None:
    feeds = {"margins": np.zeros((1, 5, 5), np.float32), "size": np.array([-1, 4])}
    with pytest.raises(EngineError, match="could not run the stage 'postprocess'") as caught:
        engine.run("postprocess", {name: engine.upload(array) for name, array in feeds.items()})
    assert "\n" not in caught.value.message


def test_an_engine_that_was_closed(shared_bundle) -> None:
    engine = open_cpu(Bundle.open(shared_bundle), threads=1)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run("preprocess", {"image": engine.upload(image(6, 6, 3))})


def test_many_threads_at_once(engine) -> None:
    wrong = []

    def work(seed):
        for _ in range(50):
            feeds = {"pixels": engine.upload(np.full((1, 3, 33, 33), seed, np.float32))}
            found = engine.download(engine.run("encode_image", feeds)["features"])
            if not (found[0, :3] == seed).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Stages that are not what they should be: the hashes are right, the content is not.


@pytest.mark.parametrize(
    "content",
    [b"", b"not ONNX", b"\x08\x0a" * 100, None],
    ids=["empty", "text", "protobuf", "a name that is no text"],
)
def test_a_stage_that_is_no_graph(content, bundle_folder, edit_manifest, capfd) -> None:
    if content is None:  # ONNX Runtime's Python side stumbles over it
        content = (bundle_folder / "decode.onnx").read_bytes().replace(b"Cast", b"C\xe5st")
    (bundle_folder / "decode.onnx").write_bytes(content)
    bundle = Bundle.open(edit_manifest(bundle_folder, rehash=True))
    with pytest.raises(BundleError, match="cannot open the stage 'decode'"):
        open_cpu(bundle, threads=1)
    assert capfd.readouterr() == ("", "")  # nothing but the error


def test_the_stage_of_another_bundle(bundle_folder, edit_manifest, make_bundle) -> None:
    other = make_bundle("other", state="float16")
    shutil.copy(other / "encode_support.onnx", bundle_folder)
    bundle = Bundle.open(edit_manifest(bundle_folder, rehash=True))
    with pytest.raises(BundleError, match=r"outputs of encode_support\.onnx are match float16"):
        open_cpu(bundle, threads=1)


@pytest.mark.parametrize("change", [{"shape": [1, 3, 35, 35]}, {"name": "image"}])
def test_a_manifest_that_says_otherwise(change, bundle_folder, edit_manifest) -> None:
    def edit(document):
        document["stages"]["encode_image"]["inputs"][0].update(change)

    bundle = Bundle.open(edit_manifest(bundle_folder, edit))
    with pytest.raises(BundleError, match=r"inputs of encode_image\.onnx are pixels"):
        open_cpu(bundle, threads=1)


@pytest.mark.skipif(
    CUDA_PROVIDER in onnxruntime.get_available_providers(), reason="nothing to fall back from"
)
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_the_silent_fallback_of_onnx_runtime_is_told(shared_bundle) -> None:
    # ONNX Runtime without CUDA, asked for CUDA, opens a session on the processor.
    with pytest.raises(EngineError, match="would run on CPUExecutionProvider") as caught:
        OnnxEngine(Bundle.open(shared_bundle), CUDA_PROVIDER, threads=1)
    assert "nvidia-smi" in caught.value.hint


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_stage_that_a_gpu_cannot_open_may_be_the_fault_of_either(
    bundle_folder, edit_manifest
) -> None:
    for stage in bundle_folder.glob("*.onnx"):
        stage.write_bytes(b"")
    bundle = Bundle.open(edit_manifest(bundle_folder, rehash=True))
    with pytest.raises(EngineError, match="cannot open the stage '") as caught:
        OnnxEngine(bundle, CUDA_PROVIDER, threads=1)
    assert "the engine 'onnx'" in caught.value.hint
