"""Hostile and damaged NIfTI files give a one-line error and take little memory."""

import gzip
import os
import struct
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from data_keys import set_data

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.readers import limits
from fcnjax.data.readers.conversion import NO_DATA
from fcnjax.data.readers.volumes import nifti_file
from fcnjax.data.readers.volumes import read as volumes
from fcnjax.data.readers.volumes.orientation import orientation_of
from fcnjax.errors import UserError

nibabel = pytest.importorskip("nibabel")
SHAPE = (4, 5, 6)
VOXELS = np.random.default_rng(0).integers(-90, 90, SHAPE).astype(np.int16)
AFFINE = np.diag([2, 2, 2, 1.0])


def content_of(voxels=VOXELS, kind=nibabel.Nifti1Image, affine=AFFINE, scale=None, extension=None):
    image = kind(voxels, affine)
    if scale:
        image.header.set_slope_inter(*scale)
    if extension:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", extension))
    return image.to_bytes()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def changed(content, *fields):
    for at, kind, *values in fields:
        packed = struct.pack(f"<{kind}", *values)
        content = content[:at] + packed + content[at + len(packed) :]
    return content


def read_all(path):
    """Read everything of a volume: header, voxels, labels and reorientation."""
    header = volumes.open_volume(path)
    volumes.reorient_to("RAS", header, str(path))
    values = [volumes.read_slice(path, 2, place) for place in range(header.shape[2])]
    volumes.percentiles(path)
    return np.stack(values, -1)


def assert_error(path, *words, read=read_all):
    with pytest.raises(UserError) as raised:
        read(path)
    for word in (str(path), *words):
        assert word in str(raised.value)


def test_claimed_size_allocates_no_memory(tmp_path):
    claim = changed(content_of()[:352], (40, "8h", 3, 700, 700, 700, 1, 1, 1, 1))
    tracemalloc.start()
    for name in ("a.nii", "a.nii.gz"):
        assert_error(
            write(tmp_path / name, claim), "was cut off: its header and voxels take 686000352"
        )
    # All bytes exist, as zeros: beyond the limit, up to 100 times the file's own are read.
    zeros = changed(content_of()[:352], (40, "8h", 3, 500, 500, 600, 1, 1, 1, 1), (112, "f", 2))
    path = tmp_path / "zeros.nii.gz"
    path.write_bytes(gzip.compress(zeros) + bytes(300_000))
    assert_error(
        path, "has 500x500x600 voxels, which take 600000000 bytes", "FCNJAX_MAX_PIXELS=75000000"
    )
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_limits_count_bytes(tmp_path, monkeypatch):
    stored, scaled = (
        write(tmp_path / f"{name}.nii.gz", content_of(np.zeros((9, 10, 10), np.uint8), scale=scale))
        for name, scale in (("stored", None), ("scaled", (0.5, 0)))
    )
    monkeypatch.setattr(limits, "SMALL_VOLUME_BYTES", 900)
    monkeypatch.setattr(limits, "MAX_RATIO", 1)
    assert read_all(stored).shape == (9, 10, 10)  # 900 bytes, held as they are
    assert_error(
        scaled, "which take 3600 bytes", "more than 1 times as many", "FCNJAX_MAX_PIXELS=450"
    )
    monkeypatch.setenv("FCNJAX_MAX_PIXELS", "450")
    assert read_all(scaled).shape == (9, 10, 10)
    monkeypatch.setenv("FCNJAX_MAX_PIXELS", "449")
    assert_error(
        scaled, "take 3600 bytes, and the limit is 3592", "FCNJAX_MAX_PIXELS=450 raises it"
    )


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ((40, "h", 9), "cannot be read as NIfTI"),
        ((40, "h", 2), "has the shape (4, 5); valid: three axes"),
        ((42, "h", -4), "has -4x5x6 voxels; valid: 1 to 32767 along an axis"),
        ((44, "h", 0), "has 4x0x6 voxels"),
        ((46, "h", 7), "was cut off: its header and voxels take 632 bytes"),
        ((70, "h", 128), "voxels; valid: numbers"),
        ((70, "h", 32), "has complex64 voxels; valid: numbers"),
        ((70, "h", 77), "cannot be read as NIfTI"),
        ((108, "f", 2.0**31), "its voxels begin at byte 2147483648; valid: 0 to 67108864"),
        ((108, "f", float("nan")), "cannot be read as NIfTI"),
        ((108, "f", -400), "vox offset -400 too low"),
        ((108, "f", 100), "vox offset 100 too low"),
        ((112, "ff", 2, float("inf")), "invalid intercept inf"),
        ((80, "f", float("nan")), "its affine has a number that is not finite"),
        ((280, "f", float("nan")), "its affine has a number that is not finite"),
        ((280, "f", 3e38), "its affine has a number that is not finite, or above"),
        ((280, "f", 0), "its affine gives an axis no length"),
        ((344, "4s", b"\0\0\0\0"), "cannot be read as NIfTI"),
    ],
)
@pytest.mark.parametrize("end", [".nii", ".nii.gz"])
def test_invalid_header_fields_are_refused(tmp_path, end, field, words):
    content = changed(content_of(), field)
    if field[0] == 80:  # counts where no form of the affine has a code
        content = changed(content, (252, "hh", 0, 0))
    if end == ".nii.gz" and "cut off" in words:
        words = "was cut off: it has fewer than the 140 voxels"
    assert_error(write(tmp_path / f"a{end}", content), words)


@pytest.mark.parametrize(
    ("field", "scale"),
    [((112, "f", 0), 1), ((112, "f", float("nan")), 1), ((112, "ff", -2, 1), -2)],
)
def test_unusual_scales_are_read(tmp_path, field, scale):
    expected = VOXELS * scale + (scale < 0)
    for end in (".nii", ".nii.gz"):
        path = write(tmp_path / f"a{end}", changed(content_of(), field))
        np.testing.assert_array_equal(read_all(path), expected)


def test_values_beyond_float32_are_infinite(tmp_path):
    for end in (".nii", ".nii.gz"):
        path = write(tmp_path / f"a{end}", content_of(scale=(3e38, 0)))
        pixels = volumes.scale_intensities(read_all(path), -1e38, 1e38)
        assert set(pixels[VOXELS > 1]) == {65535}
        assert set(pixels[VOXELS < -1]) == {0}


def test_extensions_are_not_read(tmp_path):
    plain = content_of(extension=b"of a scanner, with the name of a patient")
    claims = changed(plain, (352, "i", 2**31 - 16))
    for content in (plain, claims):
        for end in (".nii", ".nii.gz"):
            path = write(tmp_path / f"a{end}", content)
            np.testing.assert_array_equal(read_all(path), VOXELS)
            assert not volumes.open_volume(path).header.extensions


def test_other_files_are_not_opened(tmp_path):
    # A header for two files, and another format that nibabel reads.
    write(tmp_path / "a.img", bytes(VOXELS.nbytes))
    path = write(tmp_path / "a.nii", changed(content_of(), (344, "4s", b"ni1\0")))
    np.testing.assert_array_equal(read_all(path), VOXELS)
    mgh = nibabel.MGHImage(VOXELS, AFFINE).to_bytes()
    assert_error(write(tmp_path / "b.nii", mgh), "has no header of NIfTI-1 or NIfTI-2")
    os.mkfifo(tmp_path / "c.nii")
    assert_error(tmp_path / "c.nii", "is neither a file nor a folder")


def test_damaged_compression_is_refused(tmp_path):
    content = content_of()
    packed = gzip.compress(content, mtime=0)
    path = tmp_path / "a.nii.gz"

    def with_bytes(changed):
        path.write_bytes(changed)
        volumes._cache.volumes.clear()
        return path

    assert_error(with_bytes(b""), "has no header")
    assert_error(with_bytes(content), "Not a gzipped file")
    assert_error(with_bytes(packed[: len(packed) // 2]), "ended before the end-of-stream marker")
    assert_error(with_bytes(packed[:-4] + b"\0\0\0\0"), "Incorrect length")
    assert_error(with_bytes(packed[:-8] + b"\0\0\0\0" + packed[-4:]), "CRC check failed")
    assert_error(with_bytes(packed + b"text"), "Not a gzipped file")
    two = gzip.compress(content[:400], mtime=0) + gzip.compress(content[400:], mtime=0)
    np.testing.assert_array_equal(read_all(with_bytes(two)), VOXELS)
    np.testing.assert_array_equal(read_all(with_bytes(packed + bytes(40))), VOXELS)


def test_large_volume_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti_file, "_BLOCK_BYTES", 14)
    for scale in (None, (0.25, 3)):
        path = write(tmp_path / "a.nii.gz", content_of(VOXELS.astype(">i2"), scale=scale))
        image = nibabel.load(path)
        voxels = read_all(path)
        assert voxels.dtype == (np.float32 if scale else np.int16)
        expected = image.get_fdata(dtype=np.float32) if scale else np.asarray(image.dataobj)
        np.testing.assert_array_equal(voxels, expected)


def test_cache_is_limited_in_bytes(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{n}.nii.gz", content_of(VOXELS + n)) for n in range(5)]
    monkeypatch.setattr(volumes, "CACHED_BYTES", 3 * VOXELS.nbytes)
    monkeypatch.setattr(volumes, "_cache", kept := volumes._VolumeCache())
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(volumes.read_slice(path, 2, 1), VOXELS[..., 1] + number)
    assert [key[0] for key in kept.volumes] == paths[2:]
    volumes.read_slice(paths[2], 2, 0)
    monkeypatch.setattr(volumes, "CACHED_BYTES", 0)
    volumes.read_slice(paths[0], 2, 0)
    assert [key[0] for key in kept.volumes] == [paths[2], paths[0]]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([[1, 0, 0], [0, 0, 0], [0, 0, 1]], "its affine gives an axis no length"),
        ([[1, 1, 0], [0, 0, 0], [0, 0, 1]], "gives two axes the same direction"),
        ([[1, 1, 0], [1, 1 + 1e-9, 0], [0, 0, 1]], "gives two axes the same direction"),
        ([[1, 0, 0], [0, np.nan, 0], [0, 0, 1]], "values that are not finite numbers"),
    ],
)
def test_singular_affines_are_refused(axes, words):
    affine = np.eye(4)
    affine[:3, :3] = axes
    header = nibabel.Nifti1Image(VOXELS, AFFINE).header
    with pytest.raises(UserError, match=words):
        orientation_of(SimpleNamespace(header=header, affine=affine), "a.nii")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 1.5], "has the value 1.5"),
        ([0, 1e10], "has the value 1e+10"),
        ([0, -3.0e9], "has the value -3e+09"),
        ([0, 2.0**31], "and those of a mask are below 2147483648"),
    ],
)
def test_labels(tmp_path, values, words):
    stored = np.resize(np.asarray(values, np.float64), SHAPE)
    path = write(tmp_path / "a.nii.gz", content_of(stored))
    assert_error(path, words, read=volumes.label_values)
    stored = np.resize([0, -7, np.nan, np.inf, 2.0**31 - 1], SHAPE)
    path = write(tmp_path / "b.nii", content_of(stored))
    assert volumes.label_values(path) == [NO_DATA, -7, 0, 2**31 - 1]


def config_of(root, **data):
    config = default_config()
    set_data(config, source="nifti", root=str(root), channels="L", intensity=(-50, 50), **data)
    return config


def test_damaged_volume_does_not_stop_others(tmp_path):
    labels = np.random.default_rng(1).integers(0, 3, SHAPE, np.uint8)
    for name in "abcdefgh":
        write(tmp_path / f"images/{name}.nii.gz", content_of())
        write(tmp_path / f"masks/{name}.nii.gz", content_of(labels))
    damaged = tmp_path / "images/c.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:90])
    with pytest.raises(UserError, match=r"images/c\.nii\.gz: cannot be read as NIfTI"):
        resolve(config_of(tmp_path))
    config, notes = resolve(config_of(tmp_path, on_error="skip"))
    assert f"warning: skipped: {damaged}: cannot be read as NIfTI" in notes[1]
    read = {e["name"][0] for part in ("train", "eval") for e in open_source(config, part)}
    assert read == set("abdefgh")
    # A mask with damaged voxels is noticed when it is read.
    mask = tmp_path / "masks/d.nii.gz"
    packed = mask.read_bytes()
    mask.write_bytes(packed[:-8] + bytes(8))
    config, _ = resolve(config_of(tmp_path, on_error="skip"))
    assert config.data.labels.mask_values == (0, 1, 2)
    for name in "ef":
        (tmp_path / f"images/{name}.nii.gz").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"config\.data\.loading\.skip_most: 4 of 8 volumes cannot be read"
    ):
        resolve(config_of(tmp_path, on_error="skip"))
