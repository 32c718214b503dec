"""A query on the GPU from the photograph to the masks, with everything in place.

Upload, preprocessing, the image's and the query's encoding, decoding, postprocessing and download
are put into one stream without a wait between them, and become one CUDA graph.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arnet.kernels.catalogue import POSTPROCESS_LABELS
from arnet.kernels.launch import Prepared
from arnet.runtime.bundle import TensorInfo
from arnet.runtime.device.captured_work import CapturedWork
from arnet.runtime.device.marks import Marks
from arnet.runtime.device.tensor import ALIGNMENT, DeviceTensor
from arnet.runtime.engines.engine import QueryAnswer
from arnet.runtime.engines.kit import Context, Kit
from arnet.runtime.tensors import sigmoid

Call = Mapping[str, DeviceTensor]
"""What one call of ``decode`` takes of the support states."""

SIZES_KEPT = 4
"""How many sizes of photographs a lane keeps its buffers and graphs for."""

_MARGIN = 0.0  # a probability of one half


class Lane:
    """A stream with contexts and buffers of its own; it does one query after the other.

    Two lanes share nothing but what they read - weights and support states - so that one uploads
    and computes while the other still computes.
    """

    def __init__(self, kit: Kit, calls: Sequence[Call]) -> None:
        """Make the contexts and allocate what lies between the stages.

        Args:
            kit: what it is made with.
            calls: support states, resident; they are read whenever a query runs.
        """
        self.kit = kit
        self.stream = kit.driver.stream()
        self._begun, self._done = kit.driver.event(timed=True), kit.driver.event(timed=True)
        self.marks = None if kit.graphs else Marks(kit.driver, self.stream)
        self._stages: list[tuple[str, Context]] = []
        self._scratch = kit.driver.allocate(kit.scratch)
        self._sizes: OrderedDict[tuple[int, int, bool], Query] = OrderedDict()
        self._last: Query | None = None
        pixels = next(t for t in kit.manifest.stages["preprocess"].outputs if t.name == "pixels")
        self.pixels = DeviceTensor.empty(kit.driver, pixels.dtype, _fixed(pixels))
        # Contexts and graphs hold addresses only: what lies between the stages is kept here.
        self._between = query = {"pixels": self.pixels}
        for stage in ("encode_image", "encode_query"):
            query |= self._add(stage, query)
        self.decoded = [self._add("decode", {**query, **call}) for call in calls]

    def start(self, image: NDArray[np.uint8], labels: bool) -> None:
        """Begin a query; the one before must have been read, as its buffers are used again.

        Args:
            image: (H, W, 3) uint8; it is copied at once.
            labels: whether the answer is one map of labels instead of probabilities.
        """
        self._last = None  # which may be the one that goes
        key = (*image.shape[:2], labels)
        if key not in self._sizes:
            # The old ones go first: a new one may need their memory.
            while len(self._sizes) >= SIZES_KEPT:
                self._sizes.popitem(last=False)[1].close()
            self._sizes[key] = Query(self, *key)
        self._sizes.move_to_end(key)
        query = self._sizes[key]
        np.copyto(query.image, image)
        self.stream.record(self._begun)
        query.work.run()
        self.stream.record(self._done)
        self._last = query

    def wait(self) -> None:
        """Wait until the last query is done, answer and all."""
        self._done.synchronise()

    def read(self) -> QueryAnswer:
        """The answer of the last query, which is done; copied."""
        assert self._last is not None
        maps = {name: [one.copy() for one in m] for name, m in self._last.maps().items()}
        if self.marks is not None:
            return QueryAnswer(maps, self.marks.seconds(self._begun))
        whole = self.kit.driver.milliseconds(self._begun, self._done) / 1000
        return QueryAnswer(maps, {"query": whole})

    def enqueue(self) -> None:
        """Put the stages into the stream."""
        for stage, context in self._stages:
            context.enqueue(self.stream.handle)
            self.mark(stage)

    def mark(self, part: str) -> None:
        """Say that a part has been put into the stream; nothing where it becomes a graph."""
        if self.marks is not None:
            self.marks.after(part)

    def close(self) -> None:
        """Wait and free everything; the lane cannot be used any more."""
        self.stream.synchronise()
        self._last = None
        while self._sizes:
            self._sizes.popitem()[1].close()
        for _, context in self._stages:
            context.release()
        self._stages.clear()
        self.decoded.clear()
        self._between.clear()

    def _add(self, stage: str, given: Mapping[str, DeviceTensor]) -> dict[str, DeviceTensor]:
        """A stage after the others; what it puts out."""
        info = self.kit.manifest.stages[stage]
        inputs = {tensor.name: given[tensor.name] for tensor in info.inputs}
        context = self.kit.context(stage, {name: t.shape for name, t in inputs.items()})
        outputs = {
            tensor.name: DeviceTensor.empty(
                self.kit.driver, tensor.dtype, context.outputs[tensor.name]
            )
            for tensor in info.outputs
        }
        places = {name: tensor.address for name, tensor in (inputs | outputs).items()}
        context.bind(places, self._scratch)
        context.freeze()
        self._stages.append((stage, context))
        return outputs


class Query:
    """The queries of one lane with photographs of one size: buffers, staging and graph.

    Attributes:
        image: (H, W, 3) uint8, pinned: where the next photograph is put.
        work: all of it, to be captured. It refers back to this, so memory is only given back at
            once after ``close``.
    """

    def __init__(self, lane: Lane, height: int, width: int, labels: bool) -> None:
        """Allocate; nothing is allocated later."""
        kit = lane.kit
        driver = kit.driver
        self._lane = lane
        self._image = DeviceTensor.empty(driver, "uint8", (height, width, 3))
        self._staging = driver.pinned(self._image.bytes)
        self.image = self._staging.array.reshape(height, width, 3)
        self._preprocess = kit.preprocess(height, width)
        self._launches: list[Callable[[], None]] = []
        self._results: dict[str, list[DeviceTensor]] = {}
        if labels:
            self._labels(height, width)
        else:
            self._probabilities(height, width)
        self._place()
        self.work = CapturedWork(driver, lane.stream, self._enqueue, kit.graphs)

    def close(self) -> None:
        """Wait and free the graph; the memory goes with the last reference."""
        self.work.close()

    def maps(self) -> dict[str, list[NDArray[Any]]]:
        """Those of the answer, as views; the next query overwrites them."""
        found = {name: [one for m in maps for one in m] for name, maps in self._views.items()}
        if "supports" in found:
            supports = [one.astype(np.float32, copy=False) for one in found["supports"]]
            found["supports"] = [sigmoid(one) for one in supports]
        return found

    def _probabilities(self, height: int, width: int) -> None:
        kit, stream = self._lane.kit, self._lane.stream.native
        for decoded in self._lane.decoded:
            for name in ("margins", "first"):
                if name in decoded:
                    launch = kit.postprocess(decoded[name], height, width)
                    large = self._result(name, launch)
                    addresses = [decoded[name].address], [large.address]
                    self._launches.append(partial(launch, stream, *addresses))
            if "supports" in decoded:
                self._results.setdefault("supports", []).append(decoded["supports"])

    def _labels(self, height: int, width: int) -> None:
        lane, driver = self._lane, self._lane.kit.driver
        margins = [decoded["margins"] for decoded in lane.decoded]
        together = margins[0]
        if len(margins) > 1:  # the kernel compares all classes
            count = sum(one.shape[0] for one in margins)
            shape = (count, *together.shape[1:])
            together = DeviceTensor.empty(driver, together.dtype, shape)
            self._together = together  # its address is all that the launches hold
            start = together.address
            for one in margins:
                copy = partial(driver.move, start, one.address, one.bytes, lane.stream)
                self._launches.append(copy)
                start += one.bytes
        launch = driver.prepare(
            POSTPROCESS_LABELS, together.dtype, [together.shape],
            height=height, width=width, threshold=_MARGIN,
        )  # fmt: skip
        labels = self._result("labels", launch)
        addresses = [together.address], [labels.address]
        self._launches.append(partial(launch, lane.stream.native, *addresses))

    def _result(self, name: str, launch: Prepared) -> DeviceTensor:
        shape, dtype = launch.plan.outputs[0]
        result = DeviceTensor.empty(self._lane.kit.driver, dtype, shape)
        self._results.setdefault(name, []).append(result)
        return result

    def _place(self) -> None:
        """Pinned memory for the results, each at a round address, and views of it."""
        every = [one for results in self._results.values() for one in results]
        starts = np.cumsum([0, *(-(-one.bytes // ALIGNMENT) * ALIGNMENT for one in every)])
        self._answer = self._lane.kit.driver.pinned(int(starts[-1]))
        flat = {
            id(one): self._answer.array[start : start + one.bytes].view(one.dtype)
            for one, start in zip(every, starts, strict=False)
        }
        self._downloads = [(flat[id(one)], one.memory) for one in every]
        self._views = {
            name: [
                # A map of labels is a list of one.
                flat[id(one)].reshape((-1, *one.shape[-2:]))
                for one in results
            ]
            for name, results in self._results.items()
        }

    def _enqueue(self) -> None:
        lane = self._lane
        driver, stream = lane.kit.driver, lane.stream
        driver.upload(self._image.memory, self._staging.array, stream)
        lane.mark("upload")
        self._preprocess(stream.native, [self._image.address], [lane.pixels.address])
        lane.mark("preprocess")
        lane.enqueue()
        for launch in self._launches:
            launch()
        lane.mark("postprocess")
        for target, memory in self._downloads:
            driver.download(target, memory, stream)
        lane.mark("download")


def _fixed(tensor: TensorInfo) -> tuple[int, ...]:
    """The shape of a tensor without dynamic sizes."""
    return tuple(int(size) for size in tensor.shape)
