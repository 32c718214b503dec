"""The sound of one video, copied into another without decoding it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from arnet.runtime.video.opening import open_video, pyav, start_time

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet


class Sound:
    """The first sound track of a video, copied a little at a time beside the pictures.

    It reads the video a second time, for itself: players want sound and pictures of one moment
    side by side in the file, and the pictures take a while to be segmented.

    Attributes:
        left_out: why there is none or not all of it, a sentence; None if there is nothing to say.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        """Add a sound track to a file that is being made, if the video has one that fits.

        Raises:
            ImageError: the video cannot be opened.
        """
        self.left_out: str | None = None
        self._path = path
        self._source = open_video(path)
        self._start = start_time(self._source)
        self._packets: Iterator[Packet] = iter(())
        self._next: Packet | None = None
        stream = self._source.streams.best("audio")
        if stream is None:
            return
        codec = "unknown" if stream.codec_context is None else stream.codec_context.name
        if codec not in output.supported_codecs:
            self.left_out = f"The sound of {path} ({codec}) is left out: MP4 does not take it."
            return
        self._output = output
        self._target = output.add_stream_from_template(stream)
        self._packets = self._source.demux(stream)
        self._next = self._read()

    def copy(self, until: Fraction | None) -> None:
        """Copy the sound up to a time in seconds, or all that is left."""
        while self._next is not None:
            packet = self._next
            assert packet.dts is not None and packet.time_base is not None
            start = round(self._start / packet.time_base)
            if until is not None and (packet.dts - start) * packet.time_base > until:
                return
            packet.dts -= start
            if packet.pts is not None:
                packet.pts -= start
            packet.stream = self._target
            self._output.mux(packet)
            self._next = self._read()

    def close(self) -> None:
        """Close the video."""
        self._source.close()

    def _read(self) -> Packet | None:
        try:
            # The last packet of a stream is empty, and has no time.
            return next((packet for packet in self._packets if packet.dts is not None), None)
        except pyav().FFmpegError:
            self.left_out = f"The sound of {self._path} is damaged: the rest of it is left out."
            return None
