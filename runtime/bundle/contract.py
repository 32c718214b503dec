"""Whether the stages of a bundle fit together as the runtime will join them."""

from __future__ import annotations

from collections.abc import Mapping

from arnet.runtime.bundle.manifest import MANIFEST, Manifest, Stage, TensorInfo
from arnet.runtime.errors import BundleError

# What each stage takes and, at least, puts out. None: given by other stages, checked below.
_STAGES: dict[str, tuple[set[str] | None, set[str]]] = {
    "preprocess": ({"image"}, {"pixels"}),
    "encode_image": ({"pixels"}, {"features"}),
    "encode_support": ({"features", "mask"}, set()),
    "encode_query": ({"features"}, set()),
    "decode": (None, {"margins"}),
    "postprocess": ({"margins", "size"}, {"probability"}),
}
_FUSE: dict[str, tuple[set[str] | None, set[str]]] = {"fuse_support": ({"prototypes"}, set())}
# What these stages take only where "encode_image" gives it.
_OPTIONAL = {"encode_support": {"deep"}, "encode_query": {"deep"}}
_FLOATS = ("float32", "float16")
# What the runtime makes itself or takes apart: type and number of dimensions.
_OWN = {
    ("preprocess", "image"): (("uint8",), 3),
    ("encode_support", "mask"): (_FLOATS, 3),
    ("decode", "shares"): (_FLOATS, 2),
    ("postprocess", "size"): (("int64",), 1),
    ("postprocess", "probability"): (_FLOATS, 3),
}


def check_stages(manifest: Manifest) -> None:
    """Check that every stage is there and that each input is some other stage's output.

    Raises:
        BundleError: naming the stage and the tensor that do not fit.
    """
    stages = manifest.stages
    fuses = "fuse_support" in stages
    for name, (inputs, outputs) in (_STAGES | (_FUSE if fuses else {})).items():
        if name not in stages:
            raise _wrong(f"the stage '{name}' is missing")
        found = {tensor.name for tensor in stages[name].inputs}
        if inputs is not None and found - _OPTIONAL.get(name, set()) != inputs:
            raise _wrong(f"the stage '{name}' takes {_names(found)}; it must take {_names(inputs)}")
        found = {tensor.name for tensor in stages[name].outputs}
        if not found or not outputs <= found:
            raise _wrong(f"the stage '{name}' gives {_names(found)}; needed: {_names(outputs)}")
    for (name, key), (dtypes, rank) in _OWN.items():
        for tensor in (*stages[name].inputs, *stages[name].outputs):
            if tensor.name == key and (tensor.dtype not in dtypes or len(tensor.shape) != rank):
                raise _wrong(f"{key} of the stage '{name}' is {_shown(tensor)}")
    support = _by_name(stages["encode_support"])
    _joined("encode_image", _by_name(stages["preprocess"]), stages["encode_image"])
    features = _by_name(stages["encode_image"])
    _joined("encode_query", features, stages["encode_query"])
    mask = next(t for t in stages["encode_support"].inputs if t.name == "mask")
    _joined("encode_support", {**features, "mask": mask}, stages["encode_support"])
    given = _by_name(stages["encode_query"])
    shared = [set(given), set(support)]
    batched = dict(support)
    if fuses:
        if "prototype" not in support:
            raise _wrong("the stage 'encode_support' gives no prototype for 'fuse_support'")
        _joined("fuse_support", {}, stages["fuse_support"], {"prototypes": support["prototype"]})
        batched |= _by_name(stages["fuse_support"])
        shared.append(set(_by_name(stages["fuse_support"])))
    twice = {name for names in shared for name in names if sum(name in n for n in shared) > 1}
    if twice:
        raise _wrong(f"several stages give {_names(twice)}")
    shares = {t.name: t for t in stages["decode"].inputs if t.name == "shares"}
    _joined("decode", given | shares, stages["decode"], batched)
    _joined("postprocess", {}, stages["postprocess"], _by_name(stages["decode"]), {"size"})


def _joined(
    name: str,
    given: Mapping[str, TensorInfo],
    stage: Stage,
    batched: Mapping[str, TensorInfo] | None = None,
    own: frozenset[str] | set[str] = frozenset(),
) -> None:
    """Check that a stage is fed what it takes; of what is batched the first size is free."""
    batched = batched or {}
    for tensor in stage.inputs:
        if tensor.name in own:
            continue
        source = given.get(tensor.name) or batched.get(tensor.name)
        if source is None:
            raise _wrong(f"no stage gives {tensor.name}, which the stage '{name}' takes")
        first = 1 if tensor.name in batched else 0
        if (
            source.dtype != tensor.dtype
            or len(source.shape) != len(tensor.shape)
            or any(
                a != b and isinstance(a, int) and isinstance(b, int)
                for a, b in list(zip(source.shape, tensor.shape, strict=True))[first:]
            )
        ):
            raise _wrong(
                f"the stage '{name}' takes {tensor.name} as {_shown(tensor)}, but it is given"
                f" as {_shown(source)}"
            )


def _by_name(stage: Stage) -> dict[str, TensorInfo]:
    return {tensor.name: tensor for tensor in stage.outputs}


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _shown(tensor: TensorInfo) -> str:
    return f"{tensor.dtype} ({', '.join(map(str, tensor.shape))})"


def _wrong(message: str) -> BundleError:
    return BundleError(f"{MANIFEST}: {message}", "Export the bundle again with this arnet.")
