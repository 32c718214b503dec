"""All kernels. A new one is a source in ``sources/``, its reference, and its entry here.

The tests go through this list: the source is compiled for every architecture, its entries are
compared with the arguments given here, and it runs on the processor against its reference with
the cases of ``tests/kernels/cases.py``.
"""

from __future__ import annotations

from arnet.kernels import reference
from arnet.kernels.errors import KernelError
from arnet.kernels.spec import KernelSpec, Tensor

_COLOURS = [f"{kind}_{name}" for kind in ("mean", "deviation") for name in ("red", "green", "blue")]
_MARGINS = (Tensor("margins", ("N", "h", "w")),)
_SIZE = {"height": int, "width": int}
_ENLARGED = ("h", "w", "height", "width")
_PLACES = ("height*h*2 + height*2", "width*w*2 + width*2")  # of pixels between cells
_BLOCKS_OF_A_LINE = "cdiv(width, 512)"  # 128 threads make four pixels each
_BLOCKS_OF_A_COLUMN = "cdiv(height, 4)"  # of as many rows

MASKED_POOL = KernelSpec(
    name="masked_pool",
    source="masked_pool",
    inputs=(
        Tensor("features", ("1", "C", "h", "w")),
        Tensor("masks", ("T", "1", "h", "w"), "float32"),
    ),
    outputs=(Tensor("pooled", ("T", "C")),),
    parameters={"area": int},
    extras=("T", "C", "h*w", "area"),
    # Of few channels a block takes two under up to three masks, else four under up to half of ten;
    # of 1024 and more, four under up to five.
    grid=(
        "cdiv(C, min(max(cdiv(T, 3), C//1024 + 1), 2)*2)",
        "max(cdiv(T, 5), min(cdiv(T, min(C//1024, 1)*2 + 3), 2))",
        "1",
    ),
    block=("512", "1", "1"),
    reference=reference.masked_pool,
)

MASKED_POOL_RESIZED = KernelSpec(
    name="masked_pool_resized",
    source="masked_pool_resized",
    inputs=(
        Tensor("features", ("1", "C", "h", "w")),
        Tensor("masks", ("T", "1", "H", "W"), "float32"),
    ),
    outputs=(Tensor("pooled", ("T", "C")),),
    parameters={"area": int},
    extras=("T", "C", "h", "w", "H", "W", "area"),
    grid=("cdiv(C, 16)", "1", "1"),
    block=("512", "1", "1"),
    reference=reference.masked_pool_resized,
    whole=("h*H*2 + H*2 + h*3", "w*W*2 + W*2 + w*3"),  # as of preprocess
)

MASKED_SHIFT_SUM = KernelSpec(
    name="masked_shift_sum",
    source="masked_shift_sum",
    inputs=(
        Tensor("taps", ("1", "D*9", "h", "w")),
        Tensor("masks", ("T", "1", "h", "w"), "float32"),
        Tensor("own", ("T", "D", "h", "w")),
        Tensor("border", ("T", "9", "D")),
    ),
    outputs=(Tensor("result", ("T", "D", "h", "w")),),
    parameters={},
    extras=("T", "D", "h", "w"),
    # A thread takes one place, two where the width is even, four where it is a multiple of four.
    grid=("cdiv(h*w, (w//2*2 + 2 - w + (w//4*4 + 4 - w)//4*2)*128)", "cdiv(D, 2)", "1"),
    block=("128", "1", "1"),
    reference=reference.masked_shift_sum,
)

MASKED_POOL_NHWC = KernelSpec(
    name="masked_pool_nhwc",
    source="masked_pool_nhwc",
    inputs=(
        Tensor("features", ("1", "h", "w", "C")),
        Tensor("masks", ("T", "1", "h", "w"), "float32"),
    ),
    outputs=(Tensor("pooled", ("T", "C")),),
    parameters={"area": int},
    extras=("T", "C", "h*w", "area"),
    grid=("cdiv(C, min(C//512, 1)*4 + 4)", "1", "1"),  # 4 channels, or 8 of 512 and more
    block=("512", "1", "1"),
    reference=reference.masked_pool_nhwc,
)

MASKED_SHIFT_SUM_NHWC = KernelSpec(
    name="masked_shift_sum_nhwc",
    source="masked_shift_sum_nhwc",
    inputs=(
        Tensor("taps", ("1", "h", "w", "D*9")),
        Tensor("masks", ("T", "1", "h", "w"), "float32"),
        Tensor("own", ("T", "h", "w", "D")),
        Tensor("border", ("T", "9", "D")),
    ),
    outputs=(Tensor("result", ("T", "h", "w", "D")),),
    parameters={},
    extras=("T", "D", "h", "w"),
    grid=("cdiv(h*w*cdiv(D, 8), 128)", "1", "1"),
    block=("128", "1", "1"),
    reference=reference.masked_shift_sum_nhwc,
)

FORGET_ENHANCE = KernelSpec(
    name="forget_enhance",
    source="forget_enhance",
    inputs=(
        Tensor("vectors", ("k", "C")),
        Tensor("weights", ("B", "C*3", "C", "kernel")),
        Tensor("biases", ("B", "C*3")),
    ),
    outputs=(Tensor("result", ("k", "C")),),
    parameters={"block": int, "dilation": int},
    extras=("k", "C", "kernel", "dilation", "block"),
    grid=("C", "1", "1"),
    block=("96", "1", "1"),
    reference=reference.forget_enhance,
)

PREPROCESS = KernelSpec(
    name="preprocess",
    source="preprocess",
    inputs=(Tensor("image", ("H", "W", "3"), "uint8"),),
    outputs=(Tensor("pixels", ("1", "3", "size", "size")),),
    parameters={"size": int, **dict.fromkeys(_COLOURS, float)},
    extras=("H", "W", "size", *_COLOURS),
    grid=("cdiv(size, 64)", "cdiv(size, 4)", "1"),
    block=("256", "1", "1"),
    reference=reference.preprocess,
    # Centres of new pixels, in units in which all places are whole.
    whole=("size*H*2 + H*2 + size*3", "size*W*2 + W*2 + size*3"),
)

POSTPROCESS = KernelSpec(
    name="postprocess",
    source="postprocess",
    inputs=_MARGINS,
    outputs=(Tensor("probability", ("N", "height", "width"), "float32"),),
    parameters=_SIZE,
    extras=_ENLARGED,
    grid=(_BLOCKS_OF_A_LINE, _BLOCKS_OF_A_COLUMN, "N"),
    block=("128", "1", "1"),
    reference=reference.postprocess,
    whole=_PLACES,
)

POSTPROCESS_MASK = KernelSpec(
    name="postprocess_mask",
    source="postprocess",
    inputs=_MARGINS,
    outputs=(Tensor("masks", ("N", "height", "width"), "uint8"),),
    parameters={**_SIZE, "threshold": float},
    extras=(*_ENLARGED, "threshold"),
    grid=(_BLOCKS_OF_A_LINE, _BLOCKS_OF_A_COLUMN, "N"),
    block=("128", "1", "1"),
    reference=reference.postprocess_mask,
    whole=_PLACES,
)

POSTPROCESS_LABELS = KernelSpec(
    name="postprocess_labels",
    source="postprocess",
    inputs=_MARGINS,
    outputs=(Tensor("labels", ("height", "width"), "uint8"),),
    parameters={**_SIZE, "threshold": float},
    extras=("N", *_ENLARGED, "threshold"),
    grid=(_BLOCKS_OF_A_LINE, _BLOCKS_OF_A_COLUMN, "1"),
    block=("128", "1", "1"),
    reference=reference.postprocess_labels,
    whole=_PLACES,
)

KERNELS = {
    spec.name: spec
    for spec in (
        MASKED_POOL,
        MASKED_POOL_RESIZED,
        MASKED_SHIFT_SUM,
        MASKED_POOL_NHWC,
        MASKED_SHIFT_SUM_NHWC,
        FORGET_ENHANCE,
        PREPROCESS,
        POSTPROCESS,
        POSTPROCESS_MASK,
        POSTPROCESS_LABELS,
    )
}
SOURCES = sorted({spec.source for spec in KERNELS.values()})


def kernel(name: str) -> KernelSpec:
    """A kernel by its name.

    Raises:
        KernelError: if there is none of that name.
    """
    if name not in KERNELS:
        raise KernelError(f"there is no kernel {name!r}, only {', '.join(KERNELS)}")
    return KERNELS[name]
