"""The registry tells what there is, and "auto" takes the first engine that works."""

import importlib
import sys

import pytest

from arnet.runtime import engines
from arnet.runtime.bundle import Bundle
from arnet.runtime.engines import ENGINES, EngineEntry, open_engine
from arnet.runtime.errors import BundleError, EngineError

onnxruntime = pytest.importorskip("onnxruntime")
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_every_entry_points_at_a_function() -> None:
    for name, entry in ENGINES.items():
        assert callable(getattr(importlib.import_module(entry.module), entry.function)), name


def test_an_engine_by_name(shared_bundle) -> None:
    engine = open_engine(Bundle.open(shared_bundle), "onnx", threads=1)
    described = engine.describe()
    assert described["engine_version"] == f"onnxruntime {onnxruntime.__version__}"
    assert (described["engine"], described["device"], described["threads"]) == ("onnx", "cpu", 1)


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime is for GPUs")
def test_auto_passes_over_what_is_not_there(shared_bundle) -> None:
    assert open_engine(Bundle.open(shared_bundle)).describe()["engine"] == "onnx"


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime is for GPUs")
def test_an_engine_that_is_asked_for_is_never_replaced(shared_bundle) -> None:
    with pytest.raises(EngineError, match="without CUDAExecutionProvider") as caught:
        open_engine(Bundle.open(shared_bundle), "onnx-cuda")
    assert "pip install 'onnxruntime-gpu" in caught.value.hint


def test_auto_tells_of_what_is_installed_and_does_not_work(shared_bundle, monkeypatch) -> None:
    def broken(bundle, threads):
        raise EngineError("libcublas is missing", "Install it.")

    monkeypatch.setattr(importlib.import_module(ENGINES["onnx-cuda"].module), "open_cuda", broken)
    told = []
    bundle = Bundle.open(shared_bundle)
    engine = open_engine(bundle, threads=1, refused=lambda *refusal: told.append(refusal))
    assert engine.describe()["engine"] == "onnx"
    # Not of TensorRT, for which the bundle holds no plans.
    assert [(name, error.message) for name, error in told] == [
        ("onnx-cuda", "libcublas is missing")
    ]
    open_engine(bundle, "onnx", 1, lambda *refusal: pytest.fail("it was asked for by name"))


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime is for GPUs")
def test_what_is_not_installed_is_no_refusal(shared_bundle) -> None:
    bundle = Bundle.open(shared_bundle)
    open_engine(bundle, threads=1, refused=lambda *refusal: pytest.fail(str(refusal)))


@pytest.mark.parametrize("engine", ["onnx", "onnx-cuda", "auto"])
def test_onnx_runtime_is_not_installed(engine, shared_bundle, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="needs ONNX Runtime") as caught:
        open_engine(Bundle.open(shared_bundle), engine)
    assert "pip install" in caught.value.hint


def test_auto_does_not_hide_a_bundle_that_cannot_be_read(shared_bundle, monkeypatch) -> None:
    def broken(bundle, threads):
        raise BundleError("broken")

    monkeypatch.setattr(engines, "ENGINES", {"first": EngineEntry(__name__, "x"), **ENGINES})
    monkeypatch.setattr(EngineEntry, "open", lambda self, *arguments: broken(*arguments))
    with pytest.raises(BundleError, match="broken"):
        open_engine(Bundle.open(shared_bundle))


def test_an_unknown_engine_or_number_of_threads(shared_bundle) -> None:
    bundle = Bundle.open(shared_bundle)
    with pytest.raises(EngineError, match="no engine 'onxx'") as caught:
        open_engine(bundle, "onxx")
    assert "auto, tensorrt, onnx-cuda, onnx" in caught.value.hint
    with pytest.raises(EngineError, match="0 threads"):
        open_engine(bundle, "onnx", threads=0)
