"""Video in and out, by PyAV: frames, and the time of each."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from fcnjax.errors import UserError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# H.264 that looks as the original does; MPEG-4 has no times finer than 1/65535 s.
H264 = {"crf": "18", "preset": "fast"}
MPEG4_FINEST = Fraction(1, 60000)
BT709, LIMITED = 1, 1  # FFmpeg's numbers: the colours that players take untold, and their range
CUT_OFF = Fraction(1, 2)  # seconds by which a video may be shorter than its file says


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        pixels: `[H, W, 3]` uint8 RGB, upright.
        time: Since the first frame, in units of the video's `time_base`.
    """

    pixels: np.ndarray
    time: int


class VideoReader:
    """The frames of a video, in order; a loop over it reads them once.

    Args:
        path: The file; its first video stream is read.

    Attributes:
        path: The file.
        rate: Frames a second, their mean.
        time_base: Seconds, the unit of their times.
        count: How many there are, as the file says or its duration does; 0: it does not.

    Raises:
        UserError: It is missing or no video, or PyAV is not installed.
    """

    def __init__(self, path: str | Path):
        self.path = path
        av = _pyav(path)
        with _naming(path):
            self._container = av.open(str(path))
        if not self._container.streams.video:
            self.close()
            raise UserError(f"{path}: has no video in it")
        stream = self._stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.time_base = stream.time_base or 1 / self.rate
        self.count = stream.frames
        if not self.count and self._container.duration:
            self.count = round(self._container.duration * self.rate / av.time_base)

    def __iter__(self) -> Iterator[Frame]:
        """The frames.

        Raises:
            UserError: The file is damaged or ends too early, or its frames change their size.
        """
        step = max(round(1 / (self.rate * self.time_base)), 1)
        first = last = size = None
        end = 0
        with _naming(self.path):
            for number, frame in enumerate(self._container.decode(self._stream)):
                if frame.is_corrupt:
                    raise UserError(f"{self.path}: is damaged at frame {number}")
                # Of a frame without a time, and of one that is not later than the one before.
                time = 0 if last is None else last + step
                if frame.pts is not None:
                    first = frame.pts - time if first is None else first
                    time = frame.pts - first
                    time = time if last is None else max(time, last + 1)
                    end = frame.pts + max(frame.duration or 0, 2 * step)
                last = time
                pixels = frame.to_ndarray(format="rgb24")
                # As a telephone that was held upright says; counter-clockwise, as here.
                pixels = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
                size = size or pixels.shape
                if pixels.shape != size:
                    raise UserError(f"{self.path}: changes its size at frame {number}")
                yield Frame(pixels, time)
        if size is None:
            raise UserError(f"{self.path}: has no frame that can be read")
        self._refuse_cut_off(end * self.time_base)

    def _refuse_cut_off(self, end: Fraction) -> None:
        """What was cut off may decode without an error, up to there."""
        stated = Fraction(0)
        if self._stream.duration:
            stated = ((self._stream.start_time or 0) + self._stream.duration) * self.time_base
        elif (words := self._stream.metadata.get("DURATION", "").split(":"))[2:]:  # of Matroska
            with contextlib.suppress(ValueError):
                stated = sum(
                    Fraction(word) * unit for word, unit in zip(words, (3600, 60, 1), strict=True)
                )
        if end and end + CUT_OFF < stated:
            raise UserError(
                f"{self.path}: was cut off: ends at {float(end):.1f} s, and says that it has "
                f"{float(stated):.1f} s"
            )

    def close(self) -> None:
        """Closes the file."""
        self._container.close()


class VideoWriter:
    """A video of frames that have the times of another's; whole when its `with` ends.

    Args:
        path: The file. `.mp4`: RGB pictures in H.264, or in MPEG-4 where PyAV has no encoder for
            it. `.mkv`: `[H, W]` uint8 or uint16 without loss, as FFV1.
        like: The other video.
        frame: The first frame: `[H, W, 3]` uint8, or `[H, W]` uint8 or uint16.

    Raises:
        UserError: It cannot be written.
    """

    def __init__(self, path: Path, like: VideoReader, frame: np.ndarray):
        self._av, self._path = _pyav(path), path
        self._height, self._width = frame.shape[:2]
        self._given, is_rgb = "rgb24", frame.ndim == 3
        codec, options, time_base, stored = "ffv1", {}, like.time_base, None
        if not is_rgb:
            self._given = stored = "gray" if frame.dtype == np.uint8 else "gray16le"
        elif "libx264" in self._av.codecs_available:
            codec, options, stored = "libx264", H264, "yuv420p"
            # Its colours are stored for two pixels by two.
            self._height, self._width = (side + side % 2 for side in (self._height, self._width))
        else:
            codec, stored, time_base = "mpeg4", "yuv420p", max(time_base, MPEG4_FINEST)
        self._like, self._base = like, time_base
        with _writing(path):
            # So that the times in it are as they were.
            timescale = {"video_track_timescale": str(time_base.denominator)}
            self._container = self._av.open(
                str(path), "w", options=timescale if path.suffix == ".mp4" else {}
            )
            self._stream = self._container.add_stream(codec, rate=like.rate, options=dict(options))
            self._stream.width, self._stream.height = self._width, self._height
            self._stream.pix_fmt = stored
            context = self._stream.codec_context
            context.time_base = time_base
            if is_rgb:
                context.colorspace = context.color_primaries = context.color_trc = BT709
                context.color_range = LIMITED

    def write(self, pixels: np.ndarray, time: int) -> None:
        """Adds a frame, shaped as the first, at a time of the other video's."""
        more = [(0, self._height - pixels.shape[0]), (0, self._width - pixels.shape[1])]
        pixels = np.pad(pixels, more + [(0, 0)] * (pixels.ndim - 2), "edge")
        with _writing(self._path):
            frame = self._av.VideoFrame.from_ndarray(pixels, format=self._given)
            if self._given == "rgb24":
                frame = frame.reformat(format="yuv420p", dst_colorspace=BT709)
            frame.pts = round(time * self._like.time_base / self._base)
            frame.time_base = self._base
            self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with _writing(self._path):
            if kind is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()


def _pyav(path: str | Path) -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UserError(f"{path}: video needs PyAV: pip install 'fcnjax[video]'") from error
    return av


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # what PyAV raises is one of the two, or both
        raise UserError(f"{path}: cannot be read as video: {_reason(error)}") from error


@contextlib.contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written as video: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]
