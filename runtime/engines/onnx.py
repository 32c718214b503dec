"""ONNX Runtime on a processor or an NVIDIA GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.bundle import Bundle, Stage, TensorInfo
from arnet.runtime.engines.engine import Value, check_feeds
from arnet.runtime.errors import AbsentEngineError, BundleError, EngineError

if TYPE_CHECKING:
    import onnxruntime

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

_INSTALL_CPU = "pip install onnxruntime"
# The two packages share one module: both together are none.
_INSTALL_CUDA = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
_CHECK_CUDA = (
    "Check the driver with nvidia-smi, and that CUDA and cuDNN are installed: " + _INSTALL_CUDA
)
_MAX_THREADS = 16
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}


def open_cpu(bundle: Bundle, threads: int | None = None) -> OnnxEngine:
    """Run a bundle on the processor.

    Raises:
        EngineError: if ONNX Runtime is not installed.
        BundleError: if it cannot read a stage, or the stage is not as the manifest says.
    """
    _require(CPU_PROVIDER, "onnx", _INSTALL_CPU)
    return OnnxEngine(bundle, CPU_PROVIDER, threads)


def open_cuda(bundle: Bundle, threads: int | None = None) -> OnnxEngine:
    """Run a bundle on the first NVIDIA GPU.

    Raises:
        EngineError: if ONNX Runtime is not installed for GPUs, or finds none.
        BundleError: if it cannot read a stage, or the stage is not as the manifest says.
    """
    ort = _require(CUDA_PROVIDER, "onnx-cuda", _INSTALL_CUDA)
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # the CUDA libraries that pip installed
    return OnnxEngine(bundle, CUDA_PROVIDER, threads)


class OnnxEngine:
    """All stages of a bundle as sessions of ONNX Runtime; values are ``OrtValue``."""

    def __init__(self, bundle: Bundle, provider: str, threads: int | None = None) -> None:
        """Load every stage now: what is wrong shows before the first photograph.

        Args:
            bundle: what to run.
            provider: name of ONNX Runtime's execution provider.
            threads: of one computation; None for one per core, at most 16.

        Raises:
            EngineError: if the provider is not the one that computes.
            BundleError: if a stage cannot be read or is not as the manifest says.
        """
        import onnxruntime

        self._ort = onnxruntime
        self._provider = provider
        self._device = "cuda" if provider == CUDA_PROVIDER else "cpu"
        self._threads = threads or min(_cores(), _MAX_THREADS)
        self._stages = dict(bundle.manifest.stages)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        tf32 = bundle.manifest.precision.requested == "tf32"

        def opened(name: str) -> onnxruntime.InferenceSession:
            return self._session(name, bundle.read(self._stages[name].file), tf32)

        # The largest first, side by side: ONNX Runtime prepares each on one core.
        files = bundle.manifest.files
        names = sorted(self._stages, key=lambda name: -files[self._stages[name].file].bytes)
        with ThreadPoolExecutor(self._threads) as pool:
            for name, session in zip(names, pool.map(opened, names), strict=True):
                self._sessions[name] = session
                self._check_interface(name, self._stages[name])

    def upload(self, array: NDArray[Any]) -> Value:
        """See ``Engine.upload``; on the processor nothing is copied."""
        # Sizes stay on the processor, which computes shapes: a GPU would only send them back.
        device = "cpu" if array.dtype == np.int64 else self._device
        try:
            return self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise EngineError(
                f"a tensor of {array.nbytes} bytes could not be brought to the device ({error})"
            ) from error

    def download(self, value: Value) -> NDArray[np.generic]:
        """See ``Engine.download``; on the processor nothing is copied."""
        array: NDArray[np.generic] = value.numpy()
        return array

    def run(self, stage: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """See ``Engine.run``."""
        session = self._sessions.get(stage)
        if session is None:
            known = ", ".join(self._sessions) or "closed"
            raise EngineError(f"there is no stage '{stage}' to run ({known})")
        info = self._stages[stage]
        check_feeds(stage, info, {key: _signature(value) for key, value in feeds.items()})
        try:
            binding = session.io_binding()
            for key, value in feeds.items():
                binding.bind_ortvalue_input(key, value)
            for tensor in info.outputs:
                binding.bind_output(tensor.name, self._device, 0)
            session.run_with_iobinding(binding)
            outputs = binding.get_outputs()
        except Exception as error:
            raise EngineError(
                f"ONNX Runtime could not run the stage '{stage}' ({_first_line(error)})"
            ) from error
        return {tensor.name: value for tensor, value in zip(info.outputs, outputs, strict=True)}

    def describe(self) -> dict[str, Any]:
        """See ``Engine.describe``."""
        return {
            "engine": "onnx-cuda" if self._device == "cuda" else "onnx",
            "engine_version": f"onnxruntime {self._ort.__version__}",
            "device": self._device,
            "threads": self._threads,
        }

    def close(self) -> None:
        """See ``Engine.close``."""
        self._sessions.clear()

    def _session(self, name: str, model: bytes, tf32: bool) -> onnxruntime.InferenceSession:
        options = self._ort.SessionOptions()
        options.log_severity_level = 4  # what is wrong is told by exceptions
        options.intra_op_num_threads = self._threads
        # Every stage has its own threads. Those of the last one, waiting busily for work, would
        # take the processor from those of the next (measured on two cores: twice the time).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings: dict[str, str] = {}
        if self._provider == CUDA_PROVIDER:
            # Searching exhaustively would stall at every new number of shots and classes.
            settings = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "01"[tf32]}
        try:
            # Its own fallback prints, and retries on the processor.
            session = self._ort.InferenceSession(
                model, options, providers=[(self._provider, settings)], enable_fallback=0
            )
        except Exception as error:
            message = f"cannot open the stage '{name}' ({_first_line(error)})"
            if self._provider != CPU_PROVIDER:  # the device may be at fault as well as the stage
                raise EngineError(
                    f"{self._provider} {message}", f"{_CHECK_CUDA}; or use the engine 'onnx'."
                ) from error
            raise BundleError(
                f"ONNX Runtime {self._ort.__version__} {message}",
                "pip install --upgrade onnxruntime, or export the bundle again.",
            ) from error
        # Without its device ONNX Runtime computes on the processor and says nothing. (Its setting
        # disable_cpu_ep_fallback is of no use: the arithmetic of shapes belongs on the processor.)
        found = session.get_providers()[0]
        if found != self._provider:
            raise EngineError(
                f"ONNX Runtime would run on {found}, not on {self._provider} as asked",
                _CHECK_CUDA,
            )
        return session

    def _check_interface(self, name: str, stage: Stage) -> None:
        session = self._sessions[name]
        for kind, nodes, tensors in (
            ("inputs", session.get_inputs(), stage.inputs),
            ("outputs", session.get_outputs(), stage.outputs),
        ):
            found = {node.name: node for node in nodes}
            needed = {tensor.name: tensor for tensor in tensors}
            if found.keys() != needed.keys() or not all(
                _agrees(found[key], needed[key]) for key in needed
            ):
                shown = ", ".join(
                    f"{n.name} {_DTYPES.get(n.type, n.type)} {n.shape}" for n in nodes
                )
                raise BundleError(
                    f"the {kind} of {stage.file} are {shown}; the manifest says otherwise",
                    "Export the bundle again.",
                )


def _require(provider: str, engine: str, install: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise AbsentEngineError(
            f"the engine '{engine}' needs ONNX Runtime ({error})", install
        ) from error
    if provider not in onnxruntime.get_available_providers():
        raise AbsentEngineError(f"ONNX Runtime is installed without {provider}", install)
    return onnxruntime


def _cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _signature(value: Value) -> tuple[str, tuple[int, ...]]:
    kind = value.data_type()
    return _DTYPES.get(kind, kind), tuple(value.shape())


def _agrees(node: Any, tensor: TensorInfo) -> bool:
    """Whether a tensor of a graph is the one of the manifest; dynamic sizes fit any."""
    return (
        _DTYPES.get(node.type) == tensor.dtype
        and len(node.shape) == len(tensor.shape)
        and all(
            found == wanted or not (isinstance(found, int) and isinstance(wanted, int))
            for found, wanted in zip(node.shape, tensor.shape, strict=True)
        )
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
