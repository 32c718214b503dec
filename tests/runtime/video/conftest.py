"""Videos of a coloured square that moves, made by PyAV, and a bundle that finds its colour."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

RED = (200, 40, 40)
GREY = 128
PLAIN = Fraction(1, 25)


def moving_square(number: int, height: int, width: int) -> np.ndarray:
    """Grey with a red square of 24 pixels at row 10 and column 4 + number."""
    image = np.full((height, width, 3), GREY, np.uint8)
    image[10:34, 4 + number % 30 : 28 + number % 30] = RED
    return image


@pytest.fixture(scope="session")
def square():
    """The picture that frame ``number`` of a video was made from."""
    return lambda number, height=48, width=64: moving_square(number, height, width)


@pytest.fixture
def make_video(tmp_path):
    """Makes a video; ``times`` are in seconds, ``sound`` names an encoder."""
    av = pytest.importorskip("av")

    def make(
        name: str = "film.mp4",
        count: int = 10,
        times: list[str] | None = None,
        size: tuple[int, int] = (48, 64),
        codec: str = "libx264",
        time_base: Fraction = Fraction(1, 90_000),
        sound: str = "",
        noise: int = 0,
        aspect: str = "1",
        **options: str,
    ) -> Path:
        path = tmp_path / name
        rng = np.random.default_rng(0)
        even = not (size[0] % 2 or size[1] % 2)
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, 25)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p" if even else "yuv444p"
            stream.time_base = stream.codec_context.time_base = time_base
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
            track = container.add_stream(sound, 8000) if sound else None
            for number in range(count):
                image = moving_square(number, *size)
                image += rng.integers(0, noise + 1, image.shape).astype(np.uint8)
                picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                shown = Fraction(times[number]) if times else number * PLAIN
                picture.time_base, picture.pts = time_base, round(shown / time_base)
                container.mux(stream.encode(picture))
                if track is not None:  # as long as the frame
                    tone = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), "s16", "mono")
                    tone.sample_rate, tone.pts = 8000, 320 * number
                    container.mux(track.encode(tone))
            container.mux(stream.encode())
            if track is not None:
                container.mux(track.encode())
        return path

    return make


@pytest.fixture
def turn():
    """Writes a rotation into a video, by its header's matrix: what right and down become."""

    def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 4 + 40
        for index, value in zip((0, 4, 12, 16), matrix, strict=True):
            data[place + index : place + index + 4] = (value << 16).to_bytes(4, "big", signed=True)
        path.write_bytes(data)

    return turn


@pytest.fixture
def read():
    """All frames of a video."""
    from arnet.runtime.video import VideoReader

    def read(path: Path) -> list:
        with VideoReader(path) as reader:
            return list(reader)

    return read


@pytest.fixture(scope="session")
def segmenter(shared_bundle):
    from arnet.runtime.segmenter import Segmenter

    return Segmenter.load(shared_bundle, "onnx", threads=1)


@pytest.fixture
def learn(segmenter, photograph):
    """What the segmenter learns of squares of a colour."""

    def learn(colour=RED):
        image, mask = photograph(colour)
        return segmenter.learn([image], [mask])

    return learn
