"""Reading of video frames with their times, by PyAV."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.media.mp4 import check_sample_counts

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# FFmpeg detects the format by the content. Playlists (HLS, concat, DASH) and image sequences would
# open other files and URLs.
DEMUXERS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegvideo,mpegts,asf"
MAX_FRAME_PIXELS = 7680 * 4320  # decoders buffer up to about 17 frames
SINGLE_THREAD_PIXELS = 4096 * 2304  # above which frames are decoded one at a time
MISSING_END_S = Fraction(1, 2)  # by which a video may be shorter than its header says


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        pixels: `[H, W, 3]` uint8 RGB, upright.
        time: Time since the first frame, in units of the video's `time_base`.
    """

    pixels: np.ndarray
    time: int


class VideoReader:
    """The frames of a video in order, which can be iterated once.

    Args:
        path: The file, whose first video stream is read.

    Attributes:
        path: The file.
        rate: Mean number of frames per second.
        time_base: Unit of the times in seconds.
        count: Number of frames, from the header or the duration; 0 if unknown.
        start: Time of the first frame in units of `time_base`, known once it has been read.

    Raises:
        UserError: The file is missing or not a video, or PyAV is not installed.
    """

    def __init__(self, path: str | Path):
        self.path = path
        av = import_pyav(path)
        self._container = open_video(path)
        if not self._container.streams.video:
            self.close()
            raise UserError(f"{path}: has no video in it")
        stream = self._stream = self._container.streams.video[0]
        if stream.codec_context is None:
            self.close()
            raise UserError(f"{path}: has video of an unknown codec")
        if stream.width * stream.height > SINGLE_THREAD_PIXELS:
            stream.thread_count = 1
        else:
            stream.thread_type = "AUTO"
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.time_base = stream.time_base or 1 / self.rate
        self.count, self.start = stream.frames, 0
        if not self.count and self._container.duration:
            self.count = round(self._container.duration * self.rate / av.time_base)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            UserError: The file is damaged or truncated, or the frames change their size.
        """
        step = max(round(1 / (self.rate * self.time_base)), 1)
        first = last = size = None
        end = 0
        with pyav_errors(self.path):
            for number, frame in enumerate(self._container.decode(self._stream)):
                if frame.is_corrupt:
                    raise UserError(f"{self.path}: is damaged at frame {number}")
                # Default for a frame without a time, and minimum for one that is not later.
                time = 0 if last is None else last + step
                if frame.pts is not None:
                    if first is None:
                        first = self.start = frame.pts - time
                    time = frame.pts - first
                    time = time if last is None else max(time, last + 1)
                    end = frame.pts + max(frame.duration or 0, 2 * step)
                last = time
                pixels = frame.to_ndarray(format="rgb24")
                # The rotation that phones record, counterclockwise as in np.rot90.
                pixels = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
                size = size or pixels.shape
                if pixels.shape != size:
                    raise UserError(f"{self.path}: changes its size at frame {number}")
                yield Frame(pixels, time)
        if size is None:
            raise UserError(f"{self.path}: has no frame that can be read")
        self._check_duration(end * self.time_base)

    def _check_duration(self, end: Fraction) -> None:
        """Raise UserError if the video ends early: a truncated file may decode without an error."""
        duration = Fraction(0)
        if self._stream.duration:
            duration = ((self._stream.start_time or 0) + self._stream.duration) * self.time_base
        elif (fields := self._stream.metadata.get("DURATION", "").split(":"))[2:]:  # of Matroska
            with contextlib.suppress(ValueError):
                duration = sum(
                    Fraction(text) * unit for text, unit in zip(fields, (3600, 60, 1), strict=True)
                )
        if end and end + MISSING_END_S < duration:
            raise UserError(
                f"{self.path}: was cut off: ends at {float(end):.1f} s, and says that it has "
                f"{float(duration):.1f} s"
            )

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def import_pyav(path: str | Path) -> ModuleType:
    """Import PyAV; raise UserError that names `path` if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UserError(f"{path}: video needs PyAV: pip install 'fcnjax[video]'") from error
    return av


def open_video(path: str | Path) -> Any:
    """Open a video file without opening others that its content names.

    Raises:
        UserError: The file is missing, not a regular file, or of a format not in `DEMUXERS`.
    """
    av = import_pyav(path)
    check_sample_counts(path)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": DEMUXERS,
        "max_pixels": str(MAX_FRAME_PIXELS),
        "max_streams": "100",
    }
    with pyav_errors(path):
        # Without the prefix, a name such as concat:a.mp4 would be a protocol.
        return av.open(f"file:{Path(path).absolute()}", options=options)


@contextlib.contextmanager
def pyav_errors(path: str | Path, action: str = "read") -> Iterator[None]:
    """Raise errors of PyAV as UserError.

    Args:
        path: The file, for the message.
        action: Participle for the message, `read` or `written`.
    """
    import av

    try:
        yield
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        line = str(reason).splitlines()[0]
        raise UserError(f"{path}: cannot be {action} as video: {line}") from error
