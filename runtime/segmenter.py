"""Segmentation with a bundle: no torch, any engine."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from arnet.runtime import shipped
from arnet.runtime.bundle import Bundle, TensorInfo
from arnet.runtime.bundle.contract import check_stages
from arnet.runtime.engines import AUTO, Engine, QueryEngine, Refused, Value, open_engine
from arnet.runtime.queries import Queries, by_class
from arnet.runtime.segmentation import Segmentation, check_classes
from arnet.runtime.state import SupportState, Tensors, check_given, check_state
from arnet.runtime.streams import LabelMap, one_ahead
from arnet.runtime.supports import UNNAMED
from arnet.runtime.tensors import (
    check_image,
    check_supports,
    concatenated,
    no_image,
    resize_nearest,
    shares,
    sigmoid,
)

Image = NDArray[np.uint8]
Feeds = dict[str, Value]

_KEPT = 4
"""How many sets of states stay on the device, for the next photograph."""


class Segmenter:
    """A bundle behind the interface ``arnet.runtime.segmentation.FewShotSegmenter``.

    All methods may be called from several threads at once, ``close`` excepted.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        """Join a bundle and the engine that was opened for it; see ``load``.

        Raises:
            BundleError: if the stages of the bundle do not fit together.
        """
        check_stages(bundle.manifest)
        self.bundle = bundle
        self.engine = engine
        self._queries = Queries(engine) if isinstance(engine, QueryEngine) else None
        self._stages = bundle.manifest.stages
        self._states: OrderedDict[tuple[SupportState, ...], list[Feeds]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        path: str | Path,
        engine: str = AUTO,
        threads: int | None = None,
        *,
        refused: Refused | None = None,
    ) -> Segmenter:
        """Open a bundle.

        Args:
            path: its folder or zip, or the name of one that comes with arnet.
            engine: see ``open_engine``.
            threads: processor threads of one computation; None for one per core, at most 16.
            refused: see ``open_engine``.

        Raises:
            BundleError: if it is damaged, incomplete or newer.
            EngineError: if the engine is not there.
        """
        bundle = Bundle.open(shipped.find(Path(path), shipped.BUNDLE))
        check_stages(bundle.manifest)  # before an engine spends time on it
        return cls(bundle, open_engine(bundle, engine, threads, refused))

    def learn(self, images: Sequence[Image], masks: Sequence[Image]) -> SupportState:
        """Learn one class.

        States of the same class are joined with ``state.add``.

        Args:
            images: k photographs, RGB uint8 (H, W, 3), each of any size.
            masks: the object in each, (H, W): 0, 1, or 255 for unknown; a box is a filled mask.

        Returns:
            The state, fused unless the bundle decodes another number of shots.

        Raises:
            AnnotationError: an image and its mask differ in size, nothing was given, or nothing is
                left of an object at the size that the model sees.
            ImageError: an image is of another type or shape.
            EngineError: the computation failed.
        """
        check_supports(images, masks, self.bundle.manifest.image_size)
        shots = [self._encode(image, mask) for image, mask in zip(images, masks, strict=True)]
        joined = {name: np.concatenate([shot[name] for shot in shots]) for name in shots[0]}
        state = SupportState(joined, None, self.bundle.sha256)
        return self.fuse(state) if self.bundle.manifest.shots in (None, state.shots) else state

    def fuse(self, state: SupportState) -> SupportState:
        """Fuse the shots of a state, for instance after ``state.add``; it is kept if it is fused.

        ``segment`` does it by itself where it is needed, each time the state is new to it.

        Raises:
            StateError: the state is of another bundle, or has another number of shots.
        """
        check_state(state, self.bundle)
        if state.per_class is not None:
            return state
        fused: Tensors = {}
        if "fuse_support" in self._stages:
            feeds = {"prototypes": self.engine.upload(state.per_shot["prototype"])}
            outputs = self.engine.run("fuse_support", feeds)
            fused = {name: self.engine.download(value) for name, value in outputs.items()}
        return SupportState(state.per_shot, fused, state.bundle)

    # An array is an iterable too, for a type checker; the first overload is meant for it.
    @overload
    def segment(  # type: ignore[overload-overlap]
        self,
        image: Image,
        states: SupportState | Mapping[str, SupportState],
        *,
        parts: bool = True,
    ) -> Segmentation: ...

    @overload
    def segment(
        self,
        image: Iterable[Image],
        states: SupportState | Mapping[str, SupportState],
        *,
        parts: bool = True,
    ) -> Iterator[Segmentation]: ...

    def segment(
        self,
        image: Image | Iterable[Image],
        states: SupportState | Mapping[str, SupportState],
        *,
        parts: bool = True,
    ) -> Segmentation | Iterator[Segmentation]:
        """Find every class in a photograph, or in many, such as the frames of a video.

        Args:
            image: RGB uint8 (H, W, 3), of any size; or an iterable of such.
            states: by class name, or the only one (its class is called "object").
            parts: whether q1 and s are wanted beside q2; without, they may be None.

        Returns:
            The answer; or for an iterable an iterator, which takes a photograph only when the next
            answer is asked for. On a GPU that uploads one while it computes another (TensorRT), it
            takes the next photograph before it gives an answer.

        Raises:
            StateError: a state is of another bundle, or has another number of shots.
            ImageError: an image is of another type or shape.
            EngineError: the computation failed.
        """
        named = {UNNAMED: states} if isinstance(states, SupportState) else dict(states)
        calls = self._prepared(tuple(named.values()))
        if isinstance(image, np.ndarray):
            return self._begin(image, named, calls, parts)()
        if isinstance(image, str | bytes) or not isinstance(image, Iterable):
            raise no_image(type(image).__name__)
        if self._queries is not None:
            return one_ahead(image, lambda one: self._begin(one, named, calls, parts))
        return (self._segment(one, named, calls, parts) for one in image)

    def label(
        self, images: Iterable[Image], states: Mapping[str, SupportState]
    ) -> Iterator[LabelMap]:
        """See ``arnet.runtime.streams.Labeller``; a GPU with plans makes and sends nothing else."""
        calls = self._prepared(tuple(states.values()))
        check_classes(states)
        queries = self._queries
        if queries is None:
            found = (self._segment(image, states, calls, parts=False) for image in images)
            return (LabelMap(one.labels(), one.seconds) for one in found)

        return one_ahead(images, lambda image: queries.label_map(image, calls))

    def describe(self) -> dict[str, Any]:
        """What it is, for results.json."""
        manifest = self.bundle.manifest
        return {
            "kind": "bundle",
            "name": manifest.name,
            "sha256": self.bundle.sha256,
            "precision": manifest.precision.requested,
            "input_size": manifest.image_size,
            "fused_shots": manifest.fused_shots,
            **self.engine.describe(),
        }

    def close(self) -> None:
        """Free what the engine holds. Nothing can be computed afterwards."""
        self._states.clear()
        self.engine.close()

    def _encode(self, image: Image, mask: Image) -> dict[str, NDArray[np.generic]]:
        """One shot of what ``encode_support`` puts out."""
        encoded = self._encoded(check_image(image), {})
        dtype = self._input("encode_support", "mask").dtype
        guide = resize_nearest(mask == 1, self.bundle.manifest.image_size)[None].astype(dtype)
        feeds = {**encoded, "mask": self.engine.upload(guide)}
        outputs = self.engine.run("encode_support", feeds)
        return {name: self.engine.download(value) for name, value in outputs.items()}

    def _encoded(self, image: Image, seconds: dict[str, float]) -> Feeds:
        """What ``encode_image`` puts out."""
        prepared = self._run("preprocess", {"image": self.engine.upload(image)}, seconds)
        return self._run("encode_image", {"pixels": prepared["pixels"]}, seconds)

    def _run(self, stage: str, feeds: Feeds, seconds: dict[str, float]) -> Feeds:
        started = time.perf_counter()
        outputs = self.engine.run(stage, feeds)
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
        return outputs

    def _begin(
        self, image: Image, states: Mapping[str, SupportState], calls: list[Feeds], parts: bool
    ) -> Callable[[], Segmentation]:
        """Begin with a photograph where the engine can; what is returned waits for the answer."""
        if self._queries is None:
            return lambda: self._segment(image, states, calls, parts)
        # It computes all of a photograph at once; what is not wanted costs it little.
        return self._queries.segmentation(image, states, calls)

    def _segment(
        self, image: Image, states: Mapping[str, SupportState], calls: list[Feeds], parts: bool
    ) -> Segmentation:
        image = check_image(image)
        seconds: dict[str, float] = {}
        query = self._run("encode_query", self._encoded(image, seconds), seconds)
        size = self.engine.upload(np.array(image.shape[:2], np.int64))
        needed = {tensor.name for tensor in self._stages["decode"].inputs}
        masks: dict[str, list[NDArray[np.float32]]] = {}
        for call in calls:
            feeds = {name: value for name, value in (query | call).items() if name in needed}
            decoded = self._run("decode", feeds, seconds)
            for name in ("margins", "first") if parts else ("margins",):
                if name in decoded:
                    sized = {"margins": decoded[name], "size": size}
                    large = self._run("postprocess", sized, seconds)["probability"]
                    masks.setdefault(name, []).extend(self._floats(large))
            if parts and "supports" in decoded:
                masks.setdefault("supports", []).extend(sigmoid(self._floats(decoded["supports"])))
        return Segmentation(by_class(masks, states), seconds)

    def _floats(self, value: Value) -> NDArray[np.float32]:
        return self.engine.download(value).astype(np.float32, copy=False)

    def _prepared(self, states: tuple[SupportState, ...]) -> list[Feeds]:
        """What ``decode`` is fed of the states: one set of tensors for each of its calls."""
        check_given(states, SupportState, "bundle")
        with self._lock:
            if states in self._states:
                self._states.move_to_end(states)
                return self._states[states]
        fused = [self.fuse(state) for state in states]
        together = self.bundle.manifest.classes_together
        calls = [self._joined(group) for group in ([fused] if together else [[s] for s in fused])]
        with self._lock:
            self._states[states] = calls
            while len(self._states) > _KEPT:
                self._states.popitem(last=False)
        return calls

    def _joined(self, states: Sequence[SupportState]) -> Feeds:
        needed = {tensor.name for tensor in self._stages["decode"].inputs}
        tensors: dict[str, NDArray[Any]] = {}
        if "shares" in needed:
            tensors["shares"] = shares([state.shots for state in states]).astype(
                self._input("decode", "shares").dtype
            )
        for name in needed & states[0].per_shot.keys():
            tensors[name] = concatenated([state.per_shot[name] for state in states])
        for name in needed & (states[0].per_class or {}).keys():
            tensors[name] = concatenated([(state.per_class or {})[name] for state in states])
        return {name: self.engine.upload(array) for name, array in tensors.items()}

    def _input(self, stage: str, name: str) -> TensorInfo:
        return next(tensor for tensor in self._stages[stage].inputs if tensor.name == name)
