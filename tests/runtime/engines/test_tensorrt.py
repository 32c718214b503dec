"""Where "tensorrt" cannot work, it says what was found, what is needed and what to type."""

from __future__ import annotations

import importlib.util
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from arnet.runtime.bundle import Bundle
from arnet.runtime.device import LIBRARY
from arnet.runtime.engines import open_engine, tensorrt
from arnet.runtime.engines.tensorrt import TensorRtEngine, open_tensorrt
from arnet.runtime.errors import AbsentEngineError, EngineError

sys.path.append(str(Path(__file__).parents[1] / "device"))

from plans_in_bundle import add_plans


@dataclass(frozen=True)
class Gpu:
    gpu: str = "NVIDIA L4"
    capability: tuple[int, int] = (8, 9)


@pytest.fixture
def planned(bundle_folder) -> Bundle:
    return Bundle.open(add_plans(bundle_folder))


@pytest.fixture
def installed(monkeypatch):
    """Makes it look as if TensorRT of a version were installed."""

    def install(version: str) -> None:
        package = types.ModuleType("tensorrt")
        package.__dict__.update(__version__=version, ILogger=type("ILogger", (), {}))
        monkeypatch.setitem(sys.modules, "tensorrt", package)

    return install


def test_a_bundle_without_plans(shared_bundle) -> None:
    with pytest.raises(EngineError, match="holds no TensorRT plans") as caught:
        open_engine(Bundle.open(shared_bundle), "tensorrt")
    assert "arnet export --checkpoint tiny.safetensors --engine fp16" in caught.value.hint


def test_tensorrt_is_not_installed(planned, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(AbsentEngineError, match="'tensorrt' needs TensorRT") as caught:
        open_engine(planned, "tensorrt")
    assert caught.value.hint == "pip install 'tensorrt>=10.13,!=10.14.*,<12'"


def test_auto_takes_another_engine_then(planned, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert open_engine(planned, threads=1).describe()["engine"].startswith("onnx")


def test_tensorrt_whose_libraries_are_broken_is_told(planned, tmp_path, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    text = 'raise ImportError("libnvinfer.so.10: cannot open shared object file")'
    (tmp_path / "tensorrt.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    told = {}
    open_engine(planned, threads=1, refused=told.__setitem__)
    assert "libnvinfer.so.10" in told["tensorrt"].message


@pytest.mark.parametrize("version", ["8.6.1", "10.12.0.36", "12.0.0.1"])
def test_tensorrt_of_another_version(version, planned, installed) -> None:
    installed(version)
    with pytest.raises(EngineError, match=f"TensorRT {version} is installed; needed is tensorrt>="):
        open_tensorrt(planned)


def test_there_is_no_gpu(planned, installed, monkeypatch) -> None:
    installed("11.4.0.106")
    for module in ("pycuda.driver", "cuda.core"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delenv(LIBRARY, raising=False)
    with pytest.raises(EngineError, match=r"no GPU can be used: pycuda cannot.*; cuda.core cannot"):
        open_tensorrt(planned)
    monkeypatch.setenv(LIBRARY, "pycuda")
    with pytest.raises(EngineError, match="no GPU can be used: pycuda cannot be") as caught:
        open_tensorrt(planned)
    assert "pip install pycuda" in caught.value.hint
    monkeypatch.setenv(LIBRARY, "cupy")
    with pytest.raises(EngineError, match="no GPU library is called 'cupy'"):
        open_tensorrt(planned)


def test_the_plans_are_for_another_gpu(planned, installed, monkeypatch) -> None:
    installed("11.4.0.106")
    monkeypatch.setattr(tensorrt, "open_driver", Gpu)
    message = r"need an emulated \(sm_80\) with TensorRT 11.4.0.106; found are an NVIDIA L4 \(sm_89"
    with pytest.raises(EngineError, match=message) as caught:
        open_tensorrt(planned)
    assert "arnet export --checkpoint tiny.safetensors --engine fp32" in caught.value.hint


def test_a_stage_has_no_plan(planned) -> None:
    plans = planned.manifest.plans[0]
    less = replace(plans, stages={k: v for k, v in plans.stages.items() if k != "decode"})
    with pytest.raises(EngineError, match="no TensorRT plan of decode"):
        TensorRtEngine(planned, less, None, None)


@pytest.mark.parametrize("key", ["antialias", "half_pixel"])
def test_photographs_that_are_resized_in_another_way(key, planned) -> None:
    preprocessing = replace(planned.manifest.preprocessing, **{key: False})
    bundle = replace(planned, manifest=replace(planned.manifest, preprocessing=preprocessing))
    with pytest.raises(EngineError, match="resizes photographs as our kernel does not"):
        TensorRtEngine(bundle, bundle.manifest.plans[0], None, None)


def test_nothing_of_a_gpu_is_imported_with_the_module() -> None:
    code = (
        "import sys, arnet.runtime.engines.tensorrt, arnet.runtime.device.with_pycuda,"
        " arnet.runtime.device.with_cuda_core\n"
        "assert not {'tensorrt', 'pycuda', 'cuda'} & {m.partition('.')[0] for m in sys.modules}"
    )
    import subprocess

    assert importlib.util.find_spec("arnet.runtime.device") is not None
    subprocess.run([sys.executable, "-c", code], check=True)
