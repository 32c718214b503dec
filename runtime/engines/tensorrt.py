"""TensorRT: the plans of a bundle, our kernels before and after them, queries as CUDA graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.bundle import Bundle, PlanSet
from arnet.runtime.device import Driver, Memory, open_driver
from arnet.runtime.device.graphs import graphs_are_on
from arnet.runtime.device.tensor import DeviceTensor
from arnet.runtime.engines.engine import Value, check_feeds
from arnet.runtime.engines.kit import Context, Kit
from arnet.runtime.engines.lane import Call
from arnet.runtime.engines.pipeline import Form, Guard, Pending, Pipeline, form_of
from arnet.runtime.engines.plan_choice import Found, choose
from arnet.runtime.engines.plans import FixedContext, Plan, TensorRt
from arnet.runtime.errors import AbsentEngineError, EngineError

_PIPELINES = 2
"""Forms of support states (shots, classes) whose queries stay captured."""

_OURS = ("preprocess", "postprocess")
_FEW = 64  # bytes that the host keeps of an upload, because launches need them there


def open_tensorrt(bundle: Bundle, threads: int | None = None) -> TensorRtEngine:
    """Run a bundle on the first NVIDIA GPU.

    Args:
        bundle: with plans.
        threads: of no use here; the processor only launches.

    Raises:
        EngineError: if the bundle has no plans, none that fit this GPU and TensorRT, or one of
            these is missing.
    """
    manifest = bundle.manifest
    precision = manifest.plans[0].precision if manifest.plans else "fp16"
    command = (
        f"arnet export --checkpoint {manifest.checkpoint.name} --engine {precision}"
        " --support FOLDER --out BUNDLE"
    )
    if not manifest.plans:
        raise AbsentEngineError(
            "the bundle holds no TensorRT plans", f"On a machine with the GPU: {command}"
        )
    library = TensorRt()
    driver = open_driver()
    found = Found(library.version, driver.gpu, driver.capability)
    plans = choose(manifest.plans, found, command)
    return TensorRtEngine(bundle, plans, library, driver, graphs_are_on())


class TensorRtEngine:
    """Values are ``DeviceTensor``; what runs a query as a whole is ``start``."""

    def __init__(
        self, bundle: Bundle, plans: PlanSet, library: TensorRt, driver: Driver, graphs: bool = True
    ) -> None:
        """Load every plan now: what is wrong shows before the first photograph.

        Args:
            bundle: what to run.
            plans: the set of its plans that fits.
            library: TensorRT.
            driver: the GPU.
            graphs: whether queries become CUDA graphs.

        Raises:
            EngineError: if a stage has no plan or the plan cannot be used.
        """
        manifest = bundle.manifest
        missing = [name for name in manifest.stages if name not in (*plans.stages, *_OURS)]
        if missing:
            raise EngineError(
                f"the bundle has no TensorRT plan of {', '.join(missing)}", "Export it again."
            )
        if not (manifest.preprocessing.antialias and manifest.preprocessing.half_pixel):
            raise EngineError(
                "the bundle resizes photographs as our kernel does not: without antialiasing or"
                " pixel centres",
                "Use the engine 'onnx-cuda'.",
            )
        self._manifest = manifest
        self._chosen = plans
        self._library = library
        self._driver = driver
        self._guard = Guard(driver)
        self._closed = False
        with self._guard.alone("to load the plans"):
            self._stream = driver.stream()
            self._plans = {
                name: library.open(
                    name,
                    manifest.stages[name],
                    bundle.read(plan.file),
                    plans.version_compatible,
                )
                for name, plan in plans.stages.items()
            }
            scratch = max(plan.scratch for plan in self._plans.values())
            self._scratch: Memory | None = driver.allocate(scratch)
        self._contexts: dict[Any, FixedContext] = {}
        self._pipelines: OrderedDict[Form, Pipeline] = OrderedDict()
        self._kit = Kit(driver, manifest, self._new_context, graphs, scratch)

    def upload(self, array: NDArray[Any]) -> Value:
        """See ``Engine.upload``."""
        array = np.ascontiguousarray(array)
        with self._guard.alone("to take a tensor"):
            empty = DeviceTensor.empty(self._driver, array.dtype.name, array.shape)
            self._driver.upload(empty.memory, array, self._stream)
            self._stream.synchronise()
        host = array.copy() if array.nbytes <= _FEW else None
        return DeviceTensor(empty.memory, empty.dtype, empty.shape, host)

    def download(self, value: Value) -> NDArray[np.generic]:
        """See ``Engine.download``."""
        array: NDArray[np.generic] = np.empty(value.shape, value.dtype)
        with self._guard.alone("to give a tensor back"):
            self._driver.download(array, value.memory, self._stream)
            self._stream.synchronise()
        return array

    def run(self, stage: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """See ``Engine.run``; it is enqueued, and whoever downloads waits for it."""
        info = self._manifest.stages.get(stage)
        if info is None or self._closed:
            known = "closed" if self._closed else ", ".join(self._manifest.stages)
            raise EngineError(f"there is no stage '{stage}' to run ({known})")
        check_feeds(stage, info, {key: (t.dtype, t.shape) for key, t in feeds.items()})
        with self._guard.alone(f"to run the stage '{stage}'"):
            if stage == "preprocess":
                return {"pixels": self._preprocessed(feeds["image"])}
            if stage == "postprocess":
                return {"probability": self._postprocessed(feeds["margins"], feeds["size"])}
            return self._planned(stage, feeds)

    def start(
        self, image: NDArray[np.uint8], calls: Sequence[Call], labels: bool = False
    ) -> Pending:
        """See ``QueryEngine.start``."""
        if self._closed:
            raise EngineError("the engine was closed")
        with self._guard.alone("to start a query"):
            form = form_of(calls)
            if form not in self._pipelines:
                # The old ones go first: a new one may need their memory.
                while len(self._pipelines) >= _PIPELINES:
                    self._pipelines.popitem(last=False)[1].close()
                self._pipelines[form] = Pipeline(self._kit, calls, self._guard)
            self._pipelines.move_to_end(form)
            return self._pipelines[form].start(image, calls, labels)

    def describe(self) -> dict[str, Any]:
        """See ``Engine.describe``."""
        return {
            "engine": "tensorrt",
            "engine_version": f"tensorrt {self._library.version}",
            "device": self._driver.gpu,
            "driver_library": self._driver.library,
            "plan_precision": self._chosen.precision,
            "plugins": list(self._chosen.plugins),
            "graphs": self._kit.graphs,
        }

    def close(self) -> None:
        """See ``Engine.close``."""
        self._closed = True
        with self._guard.alone("to close"):
            # Everything goes here, while the GPU's context is current, which TensorRT needs for it.
            while self._pipelines:
                self._pipelines.popitem()[1].close()
            self._stream.synchronise()
            self._contexts.clear()
            for plan in self._plans.values():
                plan.close()
            self._plans.clear()
            self._scratch = None

    def _new_context(self, stage: str, shapes: Mapping[str, tuple[int, ...]]) -> Context:
        plan: Plan = self._plans[stage]
        return plan.context(shapes)

    def _planned(self, stage: str, feeds: Mapping[str, DeviceTensor]) -> dict[str, Value]:
        key = (stage, tuple((name, tensor.shape) for name, tensor in sorted(feeds.items())))
        if key not in self._contexts:
            shapes = {name: tensor.shape for name, tensor in feeds.items()}
            self._contexts[key] = self._plans[stage].context(shapes)
        context = self._contexts[key]
        outputs = {
            tensor.name: DeviceTensor.empty(
                self._driver, tensor.dtype, context.outputs[tensor.name]
            )
            for tensor in self._manifest.stages[stage].outputs
        }
        places = {name: tensor.address for name, tensor in {**feeds, **outputs}.items()}
        assert self._scratch is not None, "it was closed"
        context.bind(places, self._scratch)
        context.enqueue(self._stream.handle)
        return outputs

    def _preprocessed(self, image: DeviceTensor) -> DeviceTensor:
        launch = self._kit.preprocess(*image.shape[:2])
        shape, dtype = launch.plan.outputs[0]
        pixels = DeviceTensor.empty(self._driver, dtype, shape)
        launch(self._stream.native, [image.address], [pixels.address])
        return pixels

    def _postprocessed(self, margins: DeviceTensor, size: DeviceTensor) -> DeviceTensor:
        height, width = self.download(size) if size.host is None else size.host
        launch = self._kit.postprocess(margins, int(height), int(width))
        shape, dtype = launch.plan.outputs[0]
        large = DeviceTensor.empty(self._driver, dtype, shape)
        launch(self._stream.native, [margins.address], [large.address])
        return large
