"""Hostile videos: playlists, false sample counts, and special files."""

import contextlib
import os
import struct

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.inference.media import video_reader
from fcnjax.inference.media.video_reader import VideoReader

av = pytest.importorskip("av")
PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {path}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>{path}</BaseURL></Period></MPD>',
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n{path}\n",
}


def write(path, size=(48, 64), codec="mpeg4"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        for _ in range(3):
            pixels = np.zeros((*size, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def count(path):
    with contextlib.closing(VideoReader(path)) as reader:
        return sum(1 for _ in reader)


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("end", ["avi", "mp4", "mkv"])
def test_playlists_are_refused(tmp_path, kind, end):
    inner = write(tmp_path / "inner.mp4")
    path = tmp_path / f"a.{end}"
    path.write_text(PLAYLISTS[kind].format(path=inner))
    with pytest.raises(UserError, match="cannot be read as video"):
        count(path)


def test_file_name_is_not_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.mp4").rename(tmp_path / "concat:b.mp4|c.mp4")
    assert count("concat:b.mp4|c.mp4") == 3


def test_special_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", "/dev/zero"):
        with pytest.raises(UserError, match="is not a regular file"):
            count(path)


@pytest.mark.parametrize("samples", [2**24, 2**28, 2**32 - 1])
def test_false_sample_counts_are_refused(tmp_path, samples):
    path = write(tmp_path / "a.mp4")
    assert count(path) == 3
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, content.find(b"stsz") + 8, 1, samples)
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"is damaged: claims {samples} samples in"):
        count(path)


def test_frames_with_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mkv", codec="ffv1")
    monkeypatch.setattr(video_reader, "MAX_FRAME_PIXELS", 48 * 64 - 1)
    with pytest.raises(UserError, match=r"a\.mkv: "):
        count(path)
