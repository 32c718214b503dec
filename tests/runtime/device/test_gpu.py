"""The drivers on a real GPU."""

from __future__ import annotations

import numpy as np
import pytest

from arnet.kernels.catalogue import PREPROCESS
from arnet.kernels.errors import KernelError
from arnet.runtime.device import DRIVERS, open_driver
from arnet.runtime.device.captured_work import CapturedWork
from arnet.runtime.device.tensor import DeviceTensor
from arnet.runtime.errors import EngineError

pytestmark = pytest.mark.gpu
COLOURS = {
    f"{kind}_{name}": 0.25 for kind in ("mean", "deviation") for name in ("red", "green", "blue")
}


@pytest.fixture(params=DRIVERS)
def driver(request):
    try:
        return open_driver(request.param)
    except (EngineError, KernelError) as error:
        pytest.skip(error.message)


def test_a_kernel_in_a_graph_reads_what_is_staged(driver) -> None:
    rng = np.random.default_rng(0)
    with driver.current():
        stream, start, end = driver.stream(), driver.event(timed=True), driver.event(timed=True)
        launch = driver.prepare(PREPROCESS, "float32", [(480, 641, 3)], size=321, **COLOURS)
        image = DeviceTensor.empty(driver, "uint8", (480, 641, 3))
        pixels = DeviceTensor.empty(driver, "float32", (1, 3, 321, 321))
        staged, answer = driver.pinned(image.bytes), driver.pinned(pixels.bytes)

        def enqueue() -> None:
            driver.upload(image.memory, staged.array, stream)
            launch(stream.native, [image.address], [pixels.address])
            driver.download(answer.array, pixels.memory, stream)

        work = CapturedWork(driver, stream, enqueue)
        for _ in range(5):  # uncaptured, captured, launched
            photograph = rng.integers(0, 256, (480, 641, 3), np.uint8)
            staged.array[:] = photograph.ravel()
            stream.record(start)
            work.run()
            stream.record(end)
            end.synchronise()
            found = answer.array.view(np.float32).reshape(pixels.shape)
            expected = PREPROCESS.reference(photograph, size=321, **COLOURS)
            np.testing.assert_allclose(found, expected, atol=1e-4)
            assert driver.milliseconds(start, end) > 0
        work.close()


def test_two_streams_and_an_event(driver) -> None:
    with driver.current():
        first, second, event = driver.stream(), driver.stream(), driver.event()
        memory, other = driver.allocate(1 << 26), driver.allocate(1 << 26)
        source, answer = driver.pinned(1 << 26), driver.pinned(1 << 26)
        for value in range(10):
            source.array[:] = value
            driver.upload(memory, source.array, first)
            driver.move(other.address, memory.address, 1 << 26, first)
            first.record(event)
            second.wait(event)
            driver.download(answer.array, other, second)
            second.synchronise()
            assert (answer.array == value).all()


def test_what_allocates_cannot_be_captured_and_the_stream_goes_on(driver) -> None:
    with driver.current():
        stream, answer = driver.stream(), driver.pinned(64)
        memory = driver.allocate(64)
        with pytest.raises(EngineError):
            driver.capture(stream, lambda: driver.allocate(1 << 20) and None)
        driver.upload(memory, np.full(64, 7, np.uint8), stream)
        driver.download(answer.array, memory, stream)
        stream.synchronise()
        assert (answer.array == 7).all()
