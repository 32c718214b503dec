"""Micro-benchmarks: every kernel against its byte floor and the framework's own operations.

The floor is what a kernel must move at least over the bandwidth that a large copy reaches here.
Launches follow each other in a CUDA graph; "cold" goes through more inputs than the L2 holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from arnet.export.acceleration import Preparation, probabilities
from arnet.export.operators import ForgetEnhance, MaskedPool, MaskedShiftSum
from arnet.export.resampling import Averaging
from arnet.export.terms import Places
from arnet.kernels.torch_operators import forget_enhance_stack
from benchmarks import inputs
from benchmarks.inputs import Call
from benchmarks.recorder import Recorder, main
from benchmarks.rows import BOUND
from benchmarks.timing import copy_bandwidth, device_of, launch_time, seconds

HALF = torch.float16
COLD_BYTES = 2**28
"""More than any L2 holds twice."""

MICRO = 1e6


class Floors:
    """The measurements of one device."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.small = recorder, recorder.dry_run
        self.device = device_of(recorder.dry_run)
        self.copy = copy_bandwidth(self.device)
        self.launch = launch_time(self.device)
        recorder.row("kernel/copy", self.copy / 1e9)
        recorder.row("kernel/launch", MICRO * self.launch)

    def sizes(self, channels: int, side: int) -> tuple[int, int]:
        """Channels and side of a map, or those of a rehearsal."""
        return (8, 9) if self.small else (channels, side)

    def made(self, make: Callable[[], Call]) -> Call:
        """Fresh inputs, made where they are needed."""
        with self.device:
            return make()

    def large(self, name: str, shots: int, make: Callable[[], Call]) -> None:
        """A row of ``large/``: larger than the L2, the share of the copy bandwidth."""
        call = self.made(make)
        spent = seconds(lambda _: call(), self.device, repeats=5)
        moved = call.moved()
        share = moved / spent / self.copy
        detail = f"{MICRO * spent:.1f} us for {moved / 1e6:.0f} MB"
        self.recorder.row(f"large/{name}/{shots}", 100 * share, detail=detail)

    def times(self, make: Callable[[], Call], run: Callable[[Call], object]) -> dict[str, float]:
        """Seconds with inputs in the L2 and not, and the floor."""
        first = self.made(make)
        moved = first.moved()
        count = 2 if self.small else min(max(COLD_BYTES // moved, 2), 100)
        calls = [first, *(self.made(make) for _ in range(count - 1))]
        return {
            "warm": seconds(lambda _: run(first), self.device),
            "cold": seconds(lambda n: run(calls[n % count]), self.device, repeats=max(20, count)),
            "floor": moved / self.copy,
        }

    def small_row(self, name: str, shots: int, make: Callable[[], Call]) -> None:
        """A row of ``small/``: at batch 1, over launch and two floors; its inputs not in the L2."""
        found = self.times(make, lambda call: call())
        allowed = self.launch + 2 * found["floor"]
        self.recorder.row(f"small/{name}/{shots}", found["cold"] / allowed, detail=self.told(found))

    def stack(self) -> None:
        """The row of the stack of forget-and-enhance blocks."""
        channels, _ = self.sizes(256, 60)

        def run(call: Call) -> Tensor:
            vectors, weights, biases = call.tensors
            return forget_enhance_stack(vectors, weights, biases, [1, 2, 4])

        found = self.times(partial(inputs.forget_enhance, 5, HALF, channels), run)
        found["floor"] *= 3  # blocks
        self.recorder.row("small/forget_enhance/5", MICRO * found["cold"], detail=self.told(found))

    def told(self, found: dict[str, float]) -> str:
        """Times in words."""
        return (
            f"{MICRO * found['cold']:.2f} us cold, {MICRO * found['warm']:.2f} us in the L2; "
            f"floor {MICRO * found['floor']:.2f} us, launch {MICRO * self.launch:.2f} us"
        )

    def against_framework(self, name: str, call: Call, own: Callable[..., Tensor]) -> None:
        """A row of ``framework/``: a kernel against the framework's own operations."""
        call = call.to(self.device)
        kernel = seconds(lambda _: call(), self.device)
        framework = seconds(lambda _: own(*call.tensors), self.device)
        detail = f"{MICRO * kernel:.2f} us against {MICRO * framework:.2f} us"
        self.recorder.row(f"framework/{name}", framework / kernel, detail=detail)


class ProductsAndPool(nn.Module):
    """What the graphs do in place of ``masked_pool_resized``: average the masks, then pool."""

    def __init__(self, size: int, side: int) -> None:
        super().__init__()
        self.average = Averaging(size, (side, side)).float()

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """(1, C, h, w) and (T, 1, S, S) to (T, C)."""
        pooled: Tensor = torch.ops.arnet.masked_pool(features, self.average(masks[:, 0]), 1)
        return pooled


def framework(floors: Floors) -> Sequence[tuple[str, Callable[[], None]]]:
    """Every kernel of a query and what the framework does in its place."""
    device = floors.device
    calls = {call.name: call for call in inputs.of_a_query(HALF, floors.small)}
    side = calls["masked_pool"].tensors[0].shape[-1]
    size = int(calls["preprocess"].parameters["size"])
    enlarged = calls["postprocess"].parameters
    photograph = (int(enlarged["height"]), int(enlarged["width"]))
    shift_sum = MaskedShiftSum(Places((side, side)).to(device, HALF))
    own: dict[str, Callable[..., Tensor]] = {
        "masked_pool": MaskedPool("area").define,
        "masked_pool_resized": ProductsAndPool(size, side).to(device),
        "masked_shift_sum": shift_sum.define,
        "forget_enhance": lambda x, weights, biases: ForgetEnhance([1]).define(
            x, weights[:1], biases[:1]
        ),
        "preprocess": Preparation(size, HALF, kernel=False).to(device),
        "postprocess": lambda margins: probabilities(margins, photograph, kernel=False),
    }
    return [(name, partial(floors.against_framework, name, calls[name], own[name])) for name in own]


@torch.inference_mode()
def work(recorder: Recorder) -> None:
    """All rows of the step."""
    torch.manual_seed(0)
    floors = Floors(recorder)
    for name in BOUND:
        maker = getattr(inputs, name)
        # 1024 channels of 360 x 360 and 256 of 240 x 240 (times nine): 265 MB each.
        large = floors.sizes(*((1024, 360) if "masked_pool" in name else (256, 240)))
        usual = floors.sizes(256, 60)
        for shots in (1, 5):
            call = partial(maker, shots, HALF, *large)
            recorder.attempt(f"large/{name}/{shots}", partial(floors.large, name, shots, call))
            call = partial(maker, shots, HALF, *usual)
            recorder.attempt(f"small/{name}/{shots}", partial(floors.small_row, name, shots, call))
    recorder.attempt("small/forget_enhance/5", floors.stack)
    size = (9, 40, 50) if floors.small else (473, 1080, 1920)
    call = partial(inputs.preprocess, size[0], HALF, *size[1:])
    recorder.attempt("large/preprocess/1", partial(floors.large, "preprocess", 1, call))
    for name in ("postprocess", "postprocess_labels"):
        call = partial(inputs.postprocess, name, 1, HALF, *((9, 40, 50) if floors.small else ()))
        recorder.attempt(f"large/{name}/1", partial(floors.large, name, 1, call))
    for name, measure in framework(floors):
        recorder.attempt(f"framework/{name}", measure)


if __name__ == "__main__":
    main(work)
