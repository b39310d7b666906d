"""Video in and out, by PyAV: frames, the time of each, and the sound as it is stored."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.media.mp4 import refuse_samples

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# H.264 that looks as the original does; MPEG-4 has no times finer than 1/65535 s.
H264 = {"crf": "18", "preset": "fast"}
MPEG4_FINEST = Fraction(1, 60000)
BT709, LIMITED = 1, 1  # FFmpeg's numbers: the colours that players take untold, and their range
# FFmpeg finds the format by the content. Playlists (HLS, concat, DASH) and image sequences would
# open other files and URLs.
DEMUXERS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegvideo,mpegts,asf"
MOST_PIXELS = 7680 * 4320  # of a frame: decoders keep up to some 17 of them
LARGE_PIXELS = 4096 * 2304  # above which frames are decoded one at a time
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
        start: When the first is shown, in units of `time_base`; known once it was read.

    Raises:
        UserError: It is missing or no video, or PyAV is not installed.
    """

    def __init__(self, path: str | Path):
        self.path = path
        av = _pyav(path)
        self._container = _open(path)
        if not self._container.streams.video:
            self.close()
            raise UserError(f"{path}: has no video in it")
        stream = self._stream = self._container.streams.video[0]
        if stream.codec_context is None:
            self.close()
            raise UserError(f"{path}: has video of an unknown codec")
        if stream.width * stream.height > LARGE_PIXELS:
            stream.thread_count = 1
        else:
            stream.thread_type = "AUTO"
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.time_base = stream.time_base or 1 / self.rate
        self.count, self.start = stream.frames, 0
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
                    if first is None:
                        first = self.start = frame.pts - time
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


class Sound:
    """The sound of a video, copied into another as it is encoded.

    What the other's format does not take is left out, and told.

    Args:
        like: The video, of which the first frame was read: at that the other begins.
        path: The other's file.
        container: The other, to which streams can still be added.

    Raises:
        UserError: The file cannot be read.
    """

    def __init__(self, like: VideoReader, path: Path, container: Any):
        self._path, self._container = like.path, container
        self._start = like.start * like.time_base
        self._input = _open(like.path)
        self._copies = {}
        for stream in self._input.streams.audio:
            try:
                self._copies[stream.index] = container.add_stream_from_template(stream)
            except ValueError:
                name = getattr(stream.codec_context, "name", "of an unknown kind")
                print(f"{like.path}: its sound ({name}) is left out: {path.suffix} takes none such")
        self._packets = iter(())
        if self._copies:
            self._packets = self._input.demux(*(self._input.streams[i] for i in self._copies))
        self._next = self._read()

    def _read(self) -> Any:
        """The next packet, its times counted from the first frame; None: there is none."""
        with _naming(self._path):
            for packet in self._packets:
                if packet.dts is not None:  # the last one is empty
                    shift = round(self._start / packet.time_base)
                    packet.dts -= shift
                    packet.pts = packet.dts if packet.pts is None else packet.pts - shift
                    return packet
        return None

    def copy(self, until: Fraction | None = None) -> None:
        """Copies what begins until then, in seconds since the first frame; None: all that is left.

        Raises:
            UserError: The file cannot be read.
        """
        packet = self._next
        while packet is not None and (until is None or packet.dts * packet.time_base <= until):
            packet.stream = self._copies[packet.stream.index]
            self._container.mux(packet)
            packet = self._read()
        self._next = packet

    def close(self) -> None:
        """Closes the file that it is from."""
        self._input.close()


class VideoWriter:
    """A video of frames that have the times of another's; whole when its `with` ends.

    Args:
        path: The file. `.mp4`: RGB pictures in H.264, or in MPEG-4 where PyAV has no encoder for
            it, with the other's sound. `.mkv`: `[H, W]` uint8 or uint16 without loss, as FFV1.
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
        self._like, self._base, self._sound = like, time_base, None
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
                self._sound = Sound(like, path, self._container)

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
            if self._sound:
                self._sound.copy(time * self._like.time_base)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with _writing(self._path):
            if kind is None:
                self._container.mux(self._stream.encode(None))
            if self._sound:
                if kind is None:
                    self._sound.copy()
                self._sound.close()
            self._container.close()


def _pyav(path: str | Path) -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UserError(f"{path}: video needs PyAV: pip install 'fcnjax[video]'") from error
    return av


def _open(path: str | Path) -> Any:
    """Opens a video file, and nothing else because of its content.

    Raises:
        UserError: It is missing, not a regular file, or of another format than `DEMUXERS`.
    """
    av = _pyav(path)
    refuse_samples(path)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": DEMUXERS,
        "max_pixels": str(MOST_PIXELS),
        "max_streams": "100",
    }
    with _naming(path):
        # A name such as concat:a.mp4 would be a protocol.
        return av.open(f"file:{Path(path).absolute()}", options=options)


@contextlib.contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    try:
        yield
    except _errors() as error:
        raise UserError(f"{path}: cannot be read as video: {_reason(error)}") from error


@contextlib.contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    try:
        yield
    except _errors() as error:
        raise UserError(f"{path}: cannot be written as video: {_reason(error)}") from error


def _errors() -> tuple[type[Exception], ...]:
    """The errors that PyAV raises."""
    import av

    return av.FFmpegError, OSError, ValueError, EOFError


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]
