"""The frames of a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import ImageError
from arnet.runtime.video.opening import (
    open_video,
    picture_stream,
    promised_seconds,
    pyav,
    start_time,
)

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        image: (H, W, 3) uint8, RGB, upright; every frame has the size of the first.
        time: when it is shown, in seconds from the start of the file.
    """

    image: NDArray[np.uint8]
    time: Fraction


class VideoReader:
    """The frames of a video, one after the other; a context manager.

    A video that breaks off gives the frames it has, and so does one with damaged packets;
    ``damage`` says so.

    Attributes:
        path: the file.
        rate: mean frames per second.
        time_base: the unit of its time stamps, in seconds.
        length: number of frames to expect, None where the file does not say.
        aspect: width of a pixel to its height, as the frames are to be shown: not 1 where the
            video is anamorphic; of the upright picture once the first frame was read.
        damage: what could not be read, a sentence each; complete once all frames were read.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a video.

        Raises:
            ImageError: the file is missing, empty, no video or of an unknown codec.
            MissingDependencyError: PyAV is not installed.
        """
        self.path = Path(path)
        self.damage: list[str] = []
        self._container = open_video(self.path)
        try:
            self._stream = picture_stream(self._container, self.path)
        except ImageError:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
        self._start = start_time(self._container)
        self._promised = promised_seconds(self._container, self._stream)
        self.rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        self.time_base = self._stream.time_base or 1 / self.rate
        self.aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.length = self._stream.frames or round((self._promised or 0) * self.rate) or None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames, once.

        Raises:
            ImageError: not one frame could be decoded.
        """
        size: tuple[int, int] | None = None
        time = -1 / self.rate
        for decoded in self._decoded():
            # A file of bare pictures has no time stamps.
            time = time + 1 / self.rate if decoded.pts is None else self._time(decoded)
            quarters = round(decoded.rotation / 90)
            if size is None:
                size = decoded.width, decoded.height
                self.aspect = 1 / self.aspect if quarters % 2 else self.aspect
            pixels = decoded.to_ndarray(format="rgb24", width=size[0], height=size[1])
            # The rotation is counterclockwise, as NumPy's.
            upright = np.rot90(pixels, quarters)
            yield Frame(np.ascontiguousarray(upright), time)
        if size is None:
            raise ImageError(
                f"{self.path} is damaged: not one frame could be decoded.",
                "Export or copy the video again.",
            )
        end = time + 1 / self.rate
        # Rounded durations and delayed first frames may be off by a frame or two.
        if self._promised is not None and end < self._promised - 2.5 / self.rate:
            self.damage.append(
                f"{self.path} breaks off after {float(end):.1f} of {float(self._promised):.1f}"
                " seconds, and so does what was made of it."
            )

    def _decoded(self) -> Iterator[VideoFrame]:
        errors = pyav().FFmpegError
        broken = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, errors):
                break  # what is missing shows in the length
            try:
                frames = packet.decode()
            except errors:
                broken += 1
            else:
                yield from frames
        if broken:
            plural = "packet was" if broken == 1 else "packets were"
            self.damage.append(f"{self.path} is damaged: {broken} {plural} left out.")

    def _time(self, frame: VideoFrame) -> Fraction:
        return (frame.pts or 0) * (frame.time_base or self.time_base) - self._start
