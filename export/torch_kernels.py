"""The factorised stages in torch with our kernels: what runs on a GPU that has no TensorRT."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arnet.checkpoint import load_checkpoint
from arnet.devices import choose_device
from arnet.export.acceleration import (
    DTYPES,
    REPLACEABLE,
    Precision,
    Preparation,
    accelerated,
    labels,
    probabilities,
)
from arnet.export.replay import Graphs, Replay, Step, tuned
from arnet.export.stages import Stages, factorise
from arnet.modeling import ARNet
from arnet.runtime.errors import ConfigError
from arnet.runtime.segmentation import ClassMasks, Segmentation
from arnet.runtime.tensors import check_image, check_supports, resize_nearest, shares, sigmoid

State = dict[str, Tensor]
"""What the stages keep of one class, by name, on the device."""

_KEPT = 4
"""Sizes of photographs and sets of classes whose graphs are kept."""


@dataclass(frozen=True)
class Options:
    """How it runs.

    Attributes:
        precision: what is computed in.
        graphs: how queries are captured.
        without: kernels in whose place the framework's own operations run.
        compiled: backend of torch.compile for the stages of a query, such as "inductor", with
            which the first query takes some 15 seconds; empty to leave them as they are.
    """

    precision: Precision = "fp32"
    graphs: Graphs = "one"
    without: Collection[str] = ()
    compiled: str = ""


def ablations(options: Options) -> dict[str, Options]:
    """The same with one thing left out each, by what is left out."""
    found = {f"no {name}": replace(options, without=(name,)) for name in REPLACEABLE}
    return {
        **found,
        "no kernels": replace(options, without=REPLACEABLE),
        **{
            "no graphs": replace(options, graphs="none"),
            "a graph per stage": replace(options, graphs="stages"),
        },
    }


class TorchKernels:
    """A model behind the interface ``arnet.runtime.segmentation.FewShotSegmenter``."""

    def __init__(
        self, model: ARNet | Stages, size: int, device: str = "auto", options: Options = Options()
    ) -> None:
        """Factorise a model and put it on a device.

        Args:
            model: the trained model, which stays as it is; or its stages, factorised before.
            size: side in pixels that photographs are resized to.
            device: "auto", "cuda" or "cpu", where the kernels' references compute.
            options: how it runs.

        Raises:
            ConfigError: there is no such device or kernel, or the model refines every class alone.
        """
        if unknown := sorted(set(options.without) - set(REPLACEABLE)):
            raise ConfigError(
                f"there is no kernel {', '.join(unknown)} to leave out",
                f"they are {', '.join(REPLACEABLE)}",
            )
        self.stages = model if isinstance(model, Stages) else factorise(model, size)
        if not self.stages.layout.together:
            raise ConfigError(
                "torch-kernels decodes all classes together, and this model cannot",
                "compare with torch",
            )
        self.size, self.options = size, options
        self.device = choose_device(device)
        self.modules = accelerated(self.stages, options.precision, self.device, options.without)
        dtype = DTYPES[options.precision]
        self.prepare = Preparation(size, dtype, "preprocess" not in options.without).to(self.device)
        self._kernel = "postprocess" not in options.without
        runs: dict[str, Any] = dict(self.modules)
        if options.compiled:
            for name in ("encode_image", "encode_query", "decode"):
                runs[name] = torch.compile(
                    self.modules[name], backend=options.compiled, dynamic=False
                )
        self._runs = replace(self.stages, modules=runs)
        self._replays: OrderedDict[Any, tuple[Replay, Any]] = OrderedDict()
        self._origin: dict[str, Any] = {}

    @classmethod
    def load(
        cls,
        path: Path,
        device: str = "auto",
        size: int | None = None,
        options: Options = Options(),
    ) -> TorchKernels:
        """Read a checkpoint; ``size`` None is that of the training.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: as above.
        """
        checkpoint = load_checkpoint(path)
        side = size or checkpoint.config.data.image_size
        loaded = cls(checkpoint.model, side, device, options)
        loaded._origin = {"name": path.name, "sha256": checkpoint.sha256}
        loaded._origin["fused_shots"] = checkpoint.model.fused_shots
        return loaded

    @torch.inference_mode()
    def learn(
        self, images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]]
    ) -> State:
        """See ``FewShotSegmenter.learn``.

        Raises:
            AnnotationError: an image and its mask differ in size, nothing was given, or nothing is
                left of an object at the size that the model sees.
            ImageError: an image is of another type or shape.
        """
        check_supports(images, masks, self.size)
        with tuned():
            shots = [self._shot(image, mask) for image, mask in zip(images, masks, strict=True)]
            state = {name: torch.cat([shot[name] for shot in shots]) for name in shots[0]}
            if "fuse_support" in self.modules:
                state |= self.run("fuse_support", {"prototypes": state["prototype"]})
        return state

    def segment(
        self, image: NDArray[np.uint8], states: Mapping[str, State], *, parts: bool = True
    ) -> Segmentation:
        """See ``FewShotSegmenter.segment``; it gives all three masks, wanted or not.

        The first photograph of a size, and of a set of states, is slower: its graph is captured.
        """
        image = check_image(image)
        replay = self._replay(image, list(states.values()))
        began = time.perf_counter()
        replay.given[...] = image
        replay.enqueue()
        enqueued = time.perf_counter()
        replay.wait()
        found = replay.answers()
        whole = time.perf_counter() - began
        classes, shot = {}, 0
        for number, (name, state) in enumerate(states.items()):
            end = shot + self._shots(state)
            classes[name] = ClassMasks(
                found["probability"][number],
                found["first_probability"][number] if "first_probability" in found else None,
                sigmoid(found["supports"][shot:end]) if "supports" in found else None,
            )
            shot = end
        device = {**replay.seconds(), "enqueue": enqueued - began}
        return Segmentation(classes, {"model": whole}, device if replay.on_gpu else {})

    def describe(self) -> dict[str, Any]:
        """See ``FewShotSegmenter.describe``."""
        options = self.options
        return {
            "kind": "torch-kernels",
            **self._origin,
            "engine": "torch-kernels",
            "engine_version": f"torch {torch.__version__}",
            "device": str(self.device),
            "precision": options.precision,
            "graphs": options.graphs if self.device.type == "cuda" else "none",
            "kernels": ", ".join(k for k in REPLACEABLE if k not in options.without) or "none",
            "compiled": options.compiled or "no",
            "input_size": self.size,
        }

    def run(self, stage: str, given: Mapping[str, Tensor]) -> State:
        """Run a stage; takes its inputs out of ``given``."""
        return self._runs.run(stage, given)

    def steps(
        self, states: Sequence[State], size: tuple[int, int], answer: str = "labels"
    ) -> list[tuple[str, Step]]:
        """The steps of a query, for ``Replay``.

        Args:
            states: of the classes.
            size: height and width of the photographs.
            answer: "labels", which leaves "labels" uint8 (H, W), or "probabilities", which leaves
                "probability" and "first_probability", float32 (N, H, W).
        """
        given = self.joined(states)

        def stage(name: str) -> Step:
            return lambda tensors: self.run(name, {**tensors, **given})

        def postprocess(tensors: dict[str, Tensor]) -> State:
            if answer == "labels":
                return {"labels": labels(tensors["margins"], size, self._kernel)}
            found = {"probability": probabilities(tensors["margins"], size, self._kernel)}
            if "first" in tensors:
                first = probabilities(tensors["first"], size, self._kernel)
                found["first_probability"] = first
            return found

        return [
            ("preprocess", lambda tensors: {"pixels": self.prepare(tensors["image"])}),
            *((name, stage(name)) for name in ("encode_image", "encode_query", "decode")),
            ("postprocess", postprocess),
        ]

    @torch.inference_mode()
    def joined(self, states: Sequence[State]) -> State:
        """What ``decode`` takes of the classes, in the order of memory that it reads best."""
        weights = torch.from_numpy(shares([self._shots(state) for state in states]))
        joined = {"shares": weights.to(self.device)}
        for name in states[0]:
            value = torch.cat([state[name] for state in states])
            if value.dim() == 4 and name != "prior":  # which is no map
                value = value.contiguous(memory_format=torch.channels_last)
            joined[name] = value
        return joined

    def _shot(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> State:
        guide = resize_nearest(mask == 1, self.size)[None].astype(np.float32)
        given = {
            "mask": torch.from_numpy(guide).to(self.device),
            "pixels": self.prepare(torch.from_numpy(image.copy()).to(self.device)),
        }
        given |= self.run("encode_image", given)
        return self.run("encode_support", given)

    def _replay(self, image: NDArray[np.uint8], states: list[State]) -> Replay:
        key = (image.shape, tuple(id(state) for state in states))
        if key not in self._replays:
            steps = self.steps(states, (image.shape[0], image.shape[1]), "probabilities")
            outputs = self.stages.layout.outputs
            answers = ["probability"]
            answers += ["first_probability"] if "first" in outputs else []
            answers += ["supports"] if "supports" in outputs else []
            replay = Replay(steps, answers, image, self.device, self.options.graphs)
            self._replays[key] = (replay, states)  # which must live as long as their names
        self._replays.move_to_end(key)
        while len(self._replays) > _KEPT:
            self._replays.popitem(last=False)
        return self._replays[key][0]

    def _shots(self, state: State) -> int:
        return len(state[self.stages.layout.per_shot[0]])
