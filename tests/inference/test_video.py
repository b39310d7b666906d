"""Prediction of videos by the command: frames, times, masks and sound."""

import contextlib
import io
import sys
from fractions import Fraction

import numpy as np
import pytest

import fcnjax
from fcnjax import cli
from fcnjax.inference.media import batches
from fcnjax.inference.media.video_reader import VideoReader
from fcnjax.inference.media.video_writer import VideoWriter
from fcnjax.io.pictures import overlay

av = pytest.importorskip("av")
# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NTSC = Fraction(30000, 1001)
LUMA = (0.2126, 0.7152, 0.0722)  # of BT.709
MILLISECONDS = Fraction(1, 1000)
UNEVEN = (0, 40, 70, 150, 151, 400, 440, 480, 520, 1000, 1040)


def write_clip(path, size=(46, 62), count=11, rate=NTSC, codec="libx264", times=None, **options):
    """Write a video of a moving disc; `times` are in milliseconds."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[: size[0], : size[1]]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        if times:
            stream.codec_context.time_base = MILLISECONDS
        for number in range(count):
            pixels = rng.integers(60, 120, (*size, 3)).astype(np.uint8)
            pixels[(ys - 20) ** 2 + (xs - 5 * number) ** 2 < 150] = (200, 80, 60)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path):
    """Return the frames, their times in seconds, and the metadata of the file."""
    reader = VideoReader(path)
    frames = list(reader)
    times = [frame.time * reader.time_base for frame in frames]
    metadata = (reader.rate, reader.time_base, reader.count)
    reader.close()
    return [frame.pixels for frame in frames], times, metadata


def read_grey(path, form="gray"):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]


def predict(*arguments):
    return cli.main(["predict", *map(str, arguments)])


def test_outputs_have_the_frames_rate_and_masks_of_the_clip(workdir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(batches, "MAX_IMAGES", 4)  # 11 frames: the last batch is not full
    clip = write_clip(tmp_path / "clip.mp4")
    outputs = "--outputs=mask,overlay,confidence,components"
    assert predict(clip, f"--model={workdir}", f"--out={tmp_path / 'out'}", outputs) == 0
    assert "11 frames of 62x46 predicted, " in (out := capsys.readouterr().out)
    assert "frames/s" in out
    frames, times, metadata = read(clip)
    assert metadata == (NTSC, Fraction(1, 30000), 11)
    written, written_times, written_metadata = read(tmp_path / "out" / "clip_overlay.mp4")
    assert written_metadata == metadata
    assert written_times == times
    masks = read_grey(tmp_path / "out" / "clip_mask.mkv")
    sure = read_grey(tmp_path / "out" / "clip_confidence.mkv", "gray16le")
    assert len(frames) == len(written) == len(masks) == len(sure) == 11
    model = fcnjax.load(workdir)
    expected_overlays = []
    for frame, mask, share in zip(frames, masks, sure, strict=True):
        expected = model(frame)
        np.testing.assert_array_equal(mask, expected.mask)
        np.testing.assert_allclose(share / 65535, expected.probabilities.max(-1), atol=2e-5)
        classes = model.class_names, model.palette
        expected_overlays.append(overlay(frame, expected.mask, *classes))
    # Chroma has half the resolution, so single pixels differ.
    written, expected = (np.stack(frames) @ LUMA for frames in (written, expected_overlays))
    difference = np.abs(written[:, None] - expected).mean((2, 3))
    assert difference.diagonal().max() < 6
    assert (difference.argmin(1) == np.arange(11)).all()
    assert len({mask.tobytes() for mask in masks}) > 5  # the frames differ
    check_regions(tmp_path / "out" / "clip_components.json", masks, times)


def check_regions(path, masks, times):
    """Check that pycocotools decodes the regions of each frame to its mask."""
    coco = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):
        file = coco.COCO(str(path))
    assert len(file.anns) == len(file.dataset["annotations"]) > len(masks)
    assert [one["id"] for one in file.dataset["images"]] == list(range(len(masks)))
    for number, (mask, time) in enumerate(zip(masks, times, strict=True)):
        (image,) = file.loadImgs(number)
        assert image["file_name"] == f"clip_{number:06}.png"
        assert (image["height"], image["width"]) == mask.shape
        assert image["time"] == pytest.approx(float(time))
        drawn = np.zeros_like(mask)
        for one in file.loadAnns(file.getAnnIds(imgIds=[number])):
            drawn[file.annToMask(one) > 0] = one["category_id"]
        np.testing.assert_array_equal(drawn, mask)


def test_uneven_times_and_odd_sizes(workdir, tmp_path):
    clip = write_clip(tmp_path / "odd.mkv", (45, 61), codec="mpeg4", times=UNEVEN)
    command = (clip, f"--model={workdir}", f"--out={tmp_path}", "--tta=hflip")
    assert predict(*command) == 0
    frames, times, _ = read(clip)
    assert times == [time * MILLISECONDS for time in UNEVEN]
    written, written_times, _ = read(tmp_path / "odd_overlay.mp4")
    assert written_times == times
    # H.264 needs even sides: the last row and column are repeated.
    assert (frames[0].shape, written[0].shape) == ((45, 61, 3), (46, 62, 3))
    masks = read_grey(tmp_path / "odd_mask.mkv")
    assert len(masks) == 11
    assert masks[0].shape == (45, 61)
    predictor = fcnjax.inference.Request(models=((str(workdir), "best"),), tta=("hflip",)).load()
    np.testing.assert_array_equal(masks[-1], predictor(frames[-1]).mask)
    assert read(tmp_path / "odd_mask.mkv")[1] == times


def write_sounding(path, codec="aac", count=50, rate=25, starts=0.0):
    """Write a clip with a tone of 440 Hz; the first frame is shown at `starts` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        sound = container.add_stream(codec, rate=44100, layout="mono")
        sound.codec_context.format, sound.bit_rate = "fltp", 64000
        sound.codec_context.open(strict=False)
        size = sound.codec_context.frame_size or 1024
        tone = np.sin(np.arange(0, 44100 * count // rate) * (2 * np.pi * 440 / 44100)) / 2
        for number in range(count):
            pixels = np.full((32, 48, 3), 4 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number + round(starts * rate)
            container.mux(stream.encode(frame))
        for start in range(0, len(tone), size):
            part = tone[None, start : start + size].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
            container.mux(sound.encode(frame))
        for each in (stream, sound):
            container.mux(each.encode(None))
    return path


def packets(path):
    """Return the start, duration (s) and bytes of each audio packet, and the codec."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        audio = [
            (packet.pts * packet.time_base, packet.duration * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]
        return audio, stream.codec_context.name


def copied(clip, out):
    reader = VideoReader(clip)
    frames = iter(reader)
    first = next(frames)
    with VideoWriter(out, reader, first.pixels) as writer:
        writer.write(*first)
        for frame in frames:
            writer.write(*frame)
    reader.close()
    return out


def test_sound_is_copied_without_encoding(workdir, tmp_path):
    clip = write_sounding(tmp_path / "tone.mp4")
    assert predict(clip, f"--model={workdir}", f"--out={tmp_path / 'out'}") == 0
    (source, codec), (copy, copy_codec) = packets(clip), packets(tmp_path / "out/tone_overlay.mp4")
    assert copy_codec == codec == "aac"
    assert copy == source
    assert len(source) > 80
    assert float(sum(duration for _, duration, _ in source)) == pytest.approx(2, abs=0.05)
    frames, times, metadata = read(clip)
    written, written_times, written_metadata = read(tmp_path / "out" / "tone_overlay.mp4")
    assert (len(written), written_times, written_metadata) == (len(frames), times, metadata)
    with av.open(str(tmp_path / "out" / "tone_mask.mkv")) as container:
        assert not container.streams.audio
    # A tone of 440 Hz has 880 zero crossings per second.
    with av.open(str(tmp_path / "out" / "tone_overlay.mp4")) as container:
        wave = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    changes = np.count_nonzero(np.diff(np.signbit(wave[4410:-4410])))
    assert changes / (len(wave) - 8820) * 44100 == pytest.approx(880, rel=0.01)


def test_sound_stays_in_sync(tmp_path):
    clip = write_sounding(tmp_path / "late.mkv", "libmp3lame", starts=0.4)
    (source, _), (copy, _) = packets(clip), packets(copied(clip, tmp_path / "out.mp4"))
    assert [content for *_, content in copy] == [content for *_, content in source]
    difference = [float(old - new) for (old, *_), (new, *_) in zip(source, copy, strict=True)]
    assert difference == pytest.approx(
        [0.4] * len(difference), abs=0.002
    )  # Matroska counts milliseconds


def test_unsupported_sound_is_left_out_with_a_message(tmp_path, capsys):
    clip = write_sounding(tmp_path / "tone.wmv", "wmav2")
    out = copied(clip, tmp_path / "out.mp4")
    assert (
        "tone.wmv: its sound (wmav2) is left out: .mp4 does not support" in capsys.readouterr().out
    )
    assert len(read(out)[0]) == 50
    with av.open(str(out)) as container:
        assert not container.streams.audio


def test_mpeg4_is_the_fallback_for_h264(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", (45, 61), codec="mpeg4")
    reader = VideoReader(clip)
    frames = list(reader)
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    with VideoWriter(tmp_path / "out.mp4", reader, frames[0].pixels) as writer:
        for frame in frames:
            writer.write(*frame)
    written, times, metadata = read(tmp_path / "out.mp4")
    assert metadata == (NTSC, Fraction(1, 30000), 11)
    assert written[0].shape == (45, 61, 3)
    assert times == [frame.time * reader.time_base for frame in frames]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_rotated_clip_is_read_upright(tmp_path):
    path = tmp_path / "turned.mp4"
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32] = 250
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write a rotation")
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    frames, *_ = read(path)
    assert frames[0].shape == (64, 32, 3)
    bright = frames[0][..., 0] > 125
    assert bright[32:, :16].all()
    assert bright.sum() == 32 * 16


def test_damaged_videos_are_one_line_errors(workdir, tmp_path, capsys):
    faststart = write_clip(tmp_path / "whole.mp4", count=60, movflags="+faststart").read_bytes()
    plain = write_clip(tmp_path / "plain.mp4").read_bytes()
    mkv = write_clip(tmp_path / "whole.mkv", count=60).read_bytes()
    cases = {
        "empty.mp4": (b"", "cannot be read as video: Invalid data"),
        "text.mkv": (b"not a video at all\n" * 99, "cannot be read as video"),
        "cut.mp4": (plain[: len(plain) // 2], "cannot be read as video: Invalid data"),
        "cut_later.mp4": (faststart[: len(faststart) // 2], "was cut off"),
        "cut.mkv": (mkv[: len(mkv) // 2], "was cut off: ends at"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        out = tmp_path / "out"
        assert predict(tmp_path / name, f"--model={workdir}", f"--out={out}") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{name}: {words}" in error
        assert not out.exists() or not list(out.iterdir())


def test_options_that_do_not_apply_to_a_video(workdir, tmp_path, capsys, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", count=2)
    common = (clip, f"--model={workdir}", f"--out={tmp_path / 'out'}")
    for option, words in {
        "--tile=64x64": "clip.mp4: is a video, which --tile and --vectors do not take",
        "--outputs=mask,probabilities": "--outputs of a video: valid: mask, overlay, confidence, "
        "entropy, components; not probabilities",
        "--runner=ray": "clip.mp4: is a video, which needs --runner=local",
    }.items():
        assert predict(*common, option) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "av", None)
    assert predict(*common) == 2
    assert "pip install 'fcnjax[video]'" in capsys.readouterr().err
