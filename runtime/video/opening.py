"""A file becomes a container with pictures, or an error that says what it is instead."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from arnet.runtime.errors import ImageError, MissingDependencyError, install
from arnet.runtime.finding import is_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


def pyav() -> ModuleType:
    """Import PyAV.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "videos need PyAV, which is not installed", install("video")
        ) from error
    return av


def open_video(path: Path) -> InputContainer:
    """Open a video file.

    Raises:
        ImageError: it is missing, empty, unreadable, a photograph or no video.
        MissingDependencyError: PyAV is not installed.
    """
    av = pyav()
    if not path.is_file():
        found = "is a folder, not a video" if path.is_dir() else "does not exist"
        raise ImageError(f"{path} {found}.", "Give a video file such as film.mp4.")
    if is_image(path) and path.suffix.lower() != ".gif":
        raise ImageError(f"{path} is a photograph, not a video.", f"Give it with --query {path}.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty.", "Export or copy the video again.")
    try:
        # By its full path and nothing but files: playlists may name addresses on the network.
        container: InputContainer = av.open(
            f"file:{path.resolve()}",
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        raise ImageError(
            f"{path} is no video, or it is damaged ({error.strerror}).",
            "Play it to see whether it is whole; a recording that was stopped by force can often"
            " be mended with: ffmpeg -i damaged.mp4 -c copy mended.mp4",
        ) from error
    return container


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream with the moving pictures; the cover of a song is none.

    Raises:
        ImageError: there is none, it is a photograph, or its codec is unknown.
    """
    av = pyav()
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        raise ImageError(
            f"{path} has no pictures, only {' and '.join(kinds) or 'an empty container'}.",
            "Give a file with a video track.",
        )
    if container.format.name.endswith("_pipe") or container.format.name == "image2":
        raise ImageError(f"{path} is a photograph, not a video.", f"Give it with --query {path}.")
    best = container.streams.best("video")
    stream: VideoStream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise ImageError(
            f"{path} is of a codec that this PyAV does not know.", "Convert it to H.264."
        )
    return stream


def start_time(container: InputContainer) -> Fraction:
    """When the file starts, in seconds, which is not always 0."""
    return Fraction(container.start_time or 0, 1_000_000)


def promised_seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """How long the pictures are by what the file says, None where it does not say."""
    rate = stream.average_rate
    if container.format.name == "avi" and stream.frames and rate:
        return stream.frames / rate  # its duration is reckoned from the size of the file
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    written = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)\0*", stream.metadata.get("DURATION", ""))
    if written:
        hours, minutes, seconds = written.groups()
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    if container.duration is not None and len(container.streams) == 1:
        return Fraction(container.duration, 1_000_000)
    return None
