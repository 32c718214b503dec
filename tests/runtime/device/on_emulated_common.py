"""What the tests on the emulated GPU share; TensorRT is ``fake_tensorrt``, all else is real."""

from __future__ import annotations

import os
import sys

import fake_tensorrt
import numpy as np
import pytest
from emulated_gpu import Log
from plans_in_bundle import add_plans

fake_tensorrt.install()
sys.setdlopenflags(os.RTLD_LAZY)  # the emulated driver has not all that pycuda names

from arnet.runtime.segmenter import Segmenter  # noqa: E402

LOG = Log()
ONE_QUERY = ["cuEventRecord", "cuGraphLaunch", "cuEventRecord", "cuEventSynchronize"]
"""All that a captured query asks of the driver: two events tell how long the GPU took."""

RED, BLUE = (250, 20, 20), (20, 20, 250)


@pytest.fixture(autouse=True)
def nothing_refused():
    yield
    fake_tensorrt.REFUSED.clear()
    LOG.clear()


@pytest.fixture(scope="module")
def planned(tiny, tmp_path_factory):
    """A bundle with plans; the arguments are those of ``tiny_bundle.make_bundle``."""
    made = {}

    def make(**options):
        key = tuple(sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("planned") / "tiny"
            made[key] = add_plans(tiny.make_bundle(folder, **options))
        return made[key]

    return make


@pytest.fixture
def both(planned):
    """A segmenter on the emulated GPU and one of ONNX Runtime for the same bundle."""
    opened = []

    def make(**options):
        pair = [Segmenter.load(planned(**options), e, threads=1) for e in ("tensorrt", "onnx")]
        opened.extend(pair)
        return pair

    yield make
    for segmenter in opened:
        segmenter.close()


def photograph(colour, corner, size=(24, 31)):
    """No larger than the model's image: ONNX Runtime reduces photographs in another way."""
    image = np.random.default_rng(corner[0]).integers(120, 136, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[corner[0] : corner[0] + 11, corner[1] : corner[1] + 11] = 1
    image[mask == 1] = colour
    return image, mask


def learned(segmenter, colour, shots=2):
    pairs = [photograph(colour, ((1 + 3 * n) % 13, (4 + 5 * n) % 20)) for n in range(shots)]
    return segmenter.learn([image for image, _ in pairs], [mask for _, mask in pairs])


def frames(count, size=(24, 31)):
    colours = [RED, BLUE, (20, 250, 20)]
    return [photograph(colours[n % 3], (n % 12, 2 * n % 19), size)[0] for n in range(count)]


def assert_same(found, expected) -> None:
    assert found.classes.keys() == expected.classes.keys()
    for name, masks in expected.classes.items():
        for part in ("probability", "first", "supports"):
            one, other = getattr(found.classes[name], part), getattr(masks, part)
            assert (one is None) == (other is None)
            if other is not None:
                assert one.dtype == other.dtype
                np.testing.assert_allclose(one, other, atol=1e-5)
