"""Videos: read, segmented and written one frame at a time.

What the overlay keeps of the video: its upright size, the shape of its pixels, the time stamps of
its frames, also where the rate varies, and its sound, copied as it is where MP4 takes it. Subtitles
and further tracks are left out. Needs PyAV (``pip install '.[video]'``), imported when the first
video is opened.
"""

from __future__ import annotations

from arnet.runtime.video.overlay import infer_video, segment_video
from arnet.runtime.video.reader import Frame, VideoReader
from arnet.runtime.video.writer import VideoWriter

__all__ = ["Frame", "VideoReader", "VideoWriter", "infer_video", "segment_video"]
