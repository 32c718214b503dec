"""One query after the other, with everything in place: buffers, and steps captured as CUDA graphs.

Photographs of one size go in, arrays come out. On a GPU nothing is allocated between them, the
host enqueues without waiting, and waits once for the answer. On a processor the steps just run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Step = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
"""Takes the tensors that are there, by name, and returns others; it must not wait for the GPU."""

Graphs = Literal["one", "stages", "none"]
"""All steps in one CUDA graph, one for each step, or none."""

WARM_UP = 3


def tuned(tf32: bool = False) -> AbstractContextManager[None]:
    """Let cuDNN try which of its algorithms is fastest; float32 is TF32 only where asked for."""
    settings: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=True, deterministic=False, allow_tf32=tf32
    )
    return settings


def is_gpu(device: torch.device) -> bool:
    """Whether steps on a device can be captured."""
    return device.type == "cuda"


class Replay:
    """The steps for photographs of one size.

    Attributes:
        names: of the parts whose time is told: the steps, or "query" in one graph.
        tensors: what every step left, by name.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, Step]],
        answers: Sequence[str],
        photograph: NDArray[np.uint8],
        device: torch.device,
        graphs: Graphs = "one",
        tf32: bool = False,
    ) -> None:
        """Run the steps a few times, then capture them.

        Args:
            steps: by name, in order; the first takes "image", uint8 (H, W, 3) on the device.
            answers: names of the tensors that are brought to the host.
            photograph: uint8 (H, W, 3), one of those to come.
            device: where the steps compute.
            graphs: how they are captured, on a GPU.
            tf32: whether convolutions in float32 may round to TF32, as torch does by itself.
        """
        self.device, self.on_gpu, self._tf32 = device, is_gpu(device), tf32
        self._source = torch.from_numpy(photograph.copy())
        self.tensors: dict[str, Tensor] = {"image": self._source.to(device)}
        self._groups = (
            [("query", list(steps))] if graphs == "one" else [(n, [(n, s)]) for n, s in steps]
        )
        self.names = tuple(name for name, _ in self._groups)
        self._answers = tuple(answers)
        self._graphs: list[Any] = []
        if not self.on_gpu:
            self._run_all()
            return
        self._source = self._source.pin_memory()
        self.stream = torch.cuda.Stream(device)
        self.stream.wait_stream(torch.cuda.current_stream(device))
        with tuned(tf32):
            with torch.cuda.stream(self.stream):
                for _ in range(WARM_UP):
                    self._run_all()
            self.stream.synchronize()
            if graphs != "none":
                self._capture()
        self._hosts = {
            name: torch.empty_like(self.tensors[name], device="cpu").pin_memory()
            for name in self._answers
        }
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(len(self._groups) + 1)]
        self._done = torch.cuda.Event()

    @torch.inference_mode()
    def enqueue(self, download: bool = True) -> None:
        """Upload, compute and download the photograph in ``given``; does not wait on a GPU."""
        if not self.on_gpu:
            self._times = self._run_all()
            return
        with torch.cuda.stream(self.stream), tuned(self._tf32):
            self.tensors["image"].copy_(self._source, non_blocking=True)
            self._events[0].record()
            for number, event in enumerate(self._events[1:]):
                if self._graphs:
                    self._graphs[number].replay()
                else:
                    self._run(number)
                event.record()
            if download:
                for name, host in self._hosts.items():
                    host.copy_(self.tensors[name], non_blocking=True)
            self._done.record()

    @property
    def given(self) -> NDArray[np.uint8]:
        """The photograph that comes next; write into it after ``wait``."""
        array: NDArray[np.uint8] = self._source.numpy()
        return array

    def wait(self) -> None:
        """Wait for everything that was enqueued."""
        if self.on_gpu:
            self._done.synchronize()

    def answers(self) -> dict[str, NDArray[Any]]:
        """Copies of the answers, after ``wait``."""
        found = self._hosts if self.on_gpu else self.tensors
        return {name: found[name].numpy().copy() for name in self._answers}

    def seconds(self) -> dict[str, float]:
        """What each part took on the device, by its own clock, after ``wait``."""
        if not self.on_gpu:
            return dict(zip(self.names, self._times, strict=True))
        pairs = zip(self._events, self._events[1:], strict=False)
        spent = [before.elapsed_time(after) / 1000 for before, after in pairs]
        return dict(zip(self.names, spent, strict=True))

    def __call__(self, photograph: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The answers for one photograph."""
        self.given[...] = photograph
        self.enqueue()
        self.wait()
        return self.answers()

    @torch.inference_mode()
    def _capture(self) -> None:
        pool = torch.cuda.graph_pool_handle()
        for number in range(len(self._groups)):
            graph = torch.cuda.CUDAGraph()
            # Thread-local: other threads may use the GPU meanwhile.
            with torch.cuda.graph(
                graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"
            ):
                self._run(number)
            self._graphs.append(graph)
        self.stream.synchronize()

    def _run(self, number: int) -> None:
        for _, step in self._groups[number][1]:
            self.tensors.update(step(self.tensors))

    @torch.inference_mode()
    def _run_all(self) -> list[float]:
        spent = []
        for number in range(len(self._groups)):
            began = time.perf_counter()
            self._run(number)
            spent.append(time.perf_counter() - began)
        return spent
