"""An MP4 file, written frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from arnet.runtime.errors import OutputError
from arnet.runtime.video.opening import pyav
from arnet.runtime.video.sound import Sound

if TYPE_CHECKING:
    from av.container import OutputContainer

ENCODERS = {"libx264": {"preset": "veryfast", "crf": "20"}, "mpeg4": {"qmin": "2", "qmax": "5"}}
"""The encoders by preference, with their options: H.264 where PyAV was built with libx264."""

COARSE = Fraction(1, 60_000)
"""The unit of time for the encoder mpeg4, which takes none below 1/65535 seconds."""


class VideoWriter:
    """Writes an MP4; a context manager."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        time_base: Fraction,
        sound: Path | None = None,
        aspect: Fraction = Fraction(1),
        name: Path | None = None,
    ) -> None:
        """Create the file.

        Args:
            path: the file, of any name.
            size: (H, W) of the frames. Both encoders need even sides; where one is odd, its last
                row or column is repeated once.
            rate: mean frames per second.
            time_base: the unit of the time stamps, in seconds.
            sound: a video whose sound is copied.
            aspect: width of a pixel to its height, as players are to show it.
            name: what errors call the file, where it is written under another name at first.

        Raises:
            OutputError: the file cannot be created.
            MissingDependencyError: PyAV is not installed.
        """
        av = pyav()
        self._name = name or path
        self._last = -1
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        too_fine = encoder == "mpeg4" and time_base < COARSE
        self._time_base = COARSE if too_fine else time_base
        self._padding = [(0, side % 2) for side in size] + [(0, 0)]
        with self._errors():
            # The index comes first, so that a browser can start before it has the whole file.
            self._container: OutputContainer = av.open(
                str(path), "w", format="mp4", options={"movflags": "faststart"}
            )
            stream = self._container.add_stream(encoder, rate, ENCODERS[encoder])
            stream.height, stream.width = (side + side % 2 for side in size)
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = self._time_base
            stream.codec_context.sample_aspect_ratio = aspect
            stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU709
            self._stream = stream
        self._sound = None if sound is None else Sound(sound, self._container)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, error: type[BaseException] | None, *rest: object) -> None:
        """Finish the file, or close it as it is after an error."""
        try:
            if error is None:
                with self._errors():
                    self._container.mux(self._stream.encode())
                    if self._sound is not None:
                        self._sound.copy(None)
                    self._container.close()
        finally:
            with suppress(pyav().FFmpegError, OSError):
                self._container.close()
            if self._sound is not None:
                self._sound.close()

    @property
    def left_out(self) -> str | None:
        """Why there is no sound or not all of it, a sentence; None if there is nothing to say."""
        return None if self._sound is None else self._sound.left_out

    def write(self, image: NDArray[np.uint8], time: Fraction) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8, RGB, of the size that was announced.
            time: when it is shown, in seconds; later than the frame before.

        Raises:
            OutputError: the file cannot be written.
        """
        av = pyav()
        even = np.pad(image, self._padding, mode="edge")
        frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=av.video.reformatter.Colorspace.ITU709
        )
        self._last = frame.pts = max(round(time / self._time_base), self._last + 1)
        frame.time_base = self._time_base
        with self._errors():
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.copy(time)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except pyav().FFmpegError as error:
            raise OutputError(
                f"{self._name} could not be written: {error.strerror}.",
                "Check that the folder can be written to and that the disk has space.",
            ) from error
