"""Writing of videos by PyAV, with the frame times and the sound of another video."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.inference.media.video_reader import VideoReader, import_pyav, open_video, pyav_errors

# Visually lossless H.264. MPEG-4 has no time base finer than 1/65535 s.
H264_OPTIONS = {"crf": "18", "preset": "fast"}
MPEG4_TIME_BASE = Fraction(1, 60000)
BT709, LIMITED = 1, 1  # FFmpeg's numbers of the colour space that players assume, and its range


class AudioCopy:
    """The audio streams of a video, copied into another container as they are encoded.

    A stream that the other format does not support is skipped, with a message.

    Args:
        like: The video, whose first frame has been read: the other video starts at its time.
        path: The file of the other video.
        container: Container of the other video, to which streams can still be added.

    Raises:
        UserError: The file cannot be read.
    """

    def __init__(self, like: VideoReader, path: Path, container: Any):
        self._path, self._container = like.path, container
        self._start = like.start * like.time_base
        self._input = open_video(like.path)
        self._copies = {}
        for stream in self._input.streams.audio:
            try:
                self._copies[stream.index] = container.add_stream_from_template(stream)
            except ValueError:
                codec = getattr(stream.codec_context, "name", "of an unknown codec")
                print(
                    f"{like.path}: its sound ({codec}) is left out: {path.suffix} does not "
                    "support it"
                )
        self._packets = iter(())
        if self._copies:
            self._packets = self._input.demux(*(self._input.streams[i] for i in self._copies))
        self._next = self._read()

    def _read(self) -> Any:
        """Return the next packet, with times since the first frame, or None at the end."""
        with pyav_errors(self._path):
            for packet in self._packets:
                if packet.dts is not None:  # the last packet is empty
                    shift = round(self._start / packet.time_base)
                    packet.dts -= shift
                    packet.pts = packet.dts if packet.pts is None else packet.pts - shift
                    return packet
        return None

    def copy(self, until: Fraction | None = None) -> None:
        """Copy packets up to a time in seconds since the first frame, or all that remain.

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
        """Close the file."""
        self._input.close()


class VideoWriter:
    """A video of frames with the times of another video. Complete when its `with` block ends.

    Args:
        path: The file. `.mp4`: RGB frames as H.264, or MPEG-4 if PyAV has no H.264 encoder, with
            the sound of the other video. `.mkv`: `[H, W]` uint8 or uint16, lossless FFV1.
        like: The other video.
        frame: The first frame: `[H, W, 3]` uint8, or `[H, W]` uint8 or uint16.

    Raises:
        UserError: The file cannot be written.
    """

    def __init__(self, path: Path, like: VideoReader, frame: np.ndarray):
        self._av, self._path = import_pyav(path), path
        self._height, self._width = frame.shape[:2]
        self._input_format, is_rgb = "rgb24", frame.ndim == 3
        codec, options, time_base = "ffv1", {}, like.time_base
        pixel_format = "yuv420p"
        if not is_rgb:
            self._input_format = pixel_format = "gray" if frame.dtype == np.uint8 else "gray16le"
        elif "libx264" in self._av.codecs_available:
            codec, options = "libx264", H264_OPTIONS
            # Chroma has half the resolution, which needs even sides.
            self._height, self._width = (side + side % 2 for side in (self._height, self._width))
        else:
            codec, time_base = "mpeg4", max(time_base, MPEG4_TIME_BASE)
        self._like, self._time_base, self._audio = like, time_base, None
        with pyav_errors(path, "written"):
            # Keeps the times exact.
            timescale = {"video_track_timescale": str(time_base.denominator)}
            self._container = self._av.open(
                str(path), "w", options=timescale if path.suffix == ".mp4" else {}
            )
            self._stream = self._container.add_stream(codec, rate=like.rate, options=dict(options))
            self._stream.width, self._stream.height = self._width, self._height
            self._stream.pix_fmt = pixel_format
            context = self._stream.codec_context
            context.time_base = time_base
            if is_rgb:
                context.colorspace = context.color_primaries = context.color_trc = BT709
                context.color_range = LIMITED
                self._audio = AudioCopy(like, path, self._container)

    def write(self, pixels: np.ndarray, time: int) -> None:
        """Add a frame, shaped as the first, at a time of the other video."""
        padding = [(0, self._height - pixels.shape[0]), (0, self._width - pixels.shape[1])]
        pixels = np.pad(pixels, padding + [(0, 0)] * (pixels.ndim - 2), "edge")
        with pyav_errors(self._path, "written"):
            frame = self._av.VideoFrame.from_ndarray(pixels, format=self._input_format)
            if self._input_format == "rgb24":
                frame = frame.reformat(format="yuv420p", dst_colorspace=BT709)
            frame.pts = round(time * self._like.time_base / self._time_base)
            frame.time_base = self._time_base
            self._container.mux(self._stream.encode(frame))
            if self._audio:
                self._audio.copy(time * self._like.time_base)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with pyav_errors(self._path, "written"):
            if kind is None:
                self._container.mux(self._stream.encode(None))
            if self._audio:
                if kind is None:
                    self._audio.copy()
                self._audio.close()
            self._container.close()
