"""NIfTI and DICOM, read as a training dataset and by `predict`."""

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from fcnjax.config import default_config
from fcnjax.inference.items import InputItem
from fcnjax.inference.media import predict_volume
from fcnjax.inference.request import Request
from tests.fuzz import dicom
from tests.fuzz.mutations import BYTES, FLOATS, INTEGERS
from tests.fuzz.read_set import set_reader
from tests.fuzz.target import Mutate, Target
from tests.helpers.data_keys import set_data

SHAPE = (5, 6, 7)
# Offsets of fields: of NIfTI-1, then of NIfTI-2.
_FIELDS = {
    348: [(0, "i"), (344, "4s"), (348, "4s"), (352, "i"), (356, "i"), (140, "i"), (144, "i")]
    + [(place, "h") for place in (*range(40, 56, 2), 68, 70, 72, 74, 120, 252, 254)]
    + [(place, "B") for place in (122, 123)]
    + [(place, "f") for place in (56, *range(76, 120, 4), 124, 128, 136, *range(256, 328, 4))],
    540: [(0, "i"), (4, "4s"), (344, "i"), (348, "i"), (500, "i"), (540, "4s"), (544, "i")]
    + [(place, "h") for place in (12, 14)]
    + [(place, "q") for place in (*range(16, 80, 8), 168)]
    + [(place, "d") for place in (*range(104, 168, 8), 176, 184, *range(352, 496, 8))],
}
_MAGIC = (b"ni1\0", b"n+1\0", b"n+2\0", b"\0\0\0\0", b"\1\0\0\0", b"\xff" * 4)
_CODES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304)  # types


def _images() -> list[bytes]:
    import nibabel

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, SHAPE, np.uint8)
    affine = np.diag([2, 2, 2, 1.0])
    scaled = nibabel.Nifti1Image(rng.integers(-90, 90, SHAPE).astype(np.int16), affine)
    scaled.header.set_slope_inter(0.5, 1)
    extended = nibabel.Nifti1Image(rng.random(SHAPE).astype(np.float32), affine)
    extended.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"hello world"))
    images = (
        nibabel.Nifti1Image(labels, affine),
        scaled,
        extended,
        nibabel.Nifti2Image(labels, affine),
        nibabel.Nifti1Image(labels[..., None].astype(">f8"), affine),
    )
    return [image.to_bytes() for image in images]


def _make_nifti(folder: Path) -> list[Path]:
    contents = _images()
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    made = []
    for number, content in enumerate(contents):
        # A mask must hold integers, and have the affine of its image.
        for kind, of_kind in (("images", content), ("masks", contents[0])):
            path = folder / kind / f"{number}.nii{'.gz' if number % 2 else ''}"
            path.write_bytes(gzip.compress(of_kind) if number % 2 else of_kind)
            made.append(path)
    return made


def set_field(rng: Random, content: bytes) -> bytes:
    """Set a field of a NIfTI header, also within a compressed file."""
    return _inside(rng, content, _set_field)


def mutate_inside(rng: Random, content: bytes) -> bytes:
    """Mutate the content of a compressed file, and compress it again."""
    return _inside(rng, content, rng.choice(BYTES))


def append(rng: Random, content: bytes) -> bytes:
    """Append bytes, or another member of a compressed file."""
    return content + rng.choice((b"\0" * 100, b"text", gzip.compress(b"more"), rng.randbytes(50)))


def _inside(rng: Random, content: bytes, mutate: Mutate) -> bytes:
    try:
        return gzip.compress(mutate(rng, gzip.decompress(content)), mtime=0)
    except (OSError, EOFError, zlib.error):
        return mutate(rng, content)


def _set_field(rng: Random, content: bytes) -> bytes:
    size = int.from_bytes(content[:4], "little")
    at, kind = rng.choice(_FIELDS.get(size, _FIELDS[348]))
    if kind == "4s":
        packed = rng.choice(_MAGIC)
    elif kind in "fd":
        value = rng.choice((*(v for v in FLOATS if abs(v) != 1e300), 348.0, 352.0, 1e20))
        packed = struct.pack(f"<{kind}", value)
    else:
        length = struct.calcsize(f"<{kind}")
        value = rng.choice((*INTEGERS, *_CODES)) * rng.choice((1, -1))
        packed = (value % 2 ** (8 * length)).to_bytes(length, "little")
    return content[:at] + packed + content[at + len(packed) :]


_read_set = set_reader("nifti", depth=2, channels="L")


def _read_nifti(path: Path) -> None:
    try:
        _read_set(path)
    finally:
        _predict(path)


def _predict(source: Path) -> None:
    """Read and write as `predict` does, with a model that predicts class 0."""
    out, expected = source.parent / "out", 0
    try:
        with mock.patch.object(predict_volume, "predict_in_batches", _label):
            item = InputItem(0, "x", str(source))
            predict_volume.predict_volume(_predictor(), item, out, show_progress=False)
        expected = 2
    finally:
        written = sorted(path.name for path in out.iterdir()) if out.exists() else []
        assert len(written) == expected, written


def _predictor() -> Any:
    config = default_config()
    set_data(config, channels="L", axis=2)
    model = SimpleNamespace(config=config, class_names=("a", "b"), mask_dtype=np.uint8)
    request = Request((), outputs=("mask", "confidence"))
    return SimpleNamespace(model=model, request=request)


def _label(predictor: Any, source: str, items: Any, pixels: Callable, write: Callable) -> None:
    for item in items:
        mask = np.zeros(pixels(item).shape[:2], np.uint8)
        write(item, SimpleNamespace(mask=mask, probabilities=np.full((*mask.shape, 2), 0.5)))


def _read_dicom(path: Path) -> None:
    _predict(path.parent if path.parent.name == "series" else path)


TARGETS = [
    Target(
        "nifti",
        _make_nifti,
        _read_nifti,
        (set_field, set_field, set_field, set_field, mutate_inside, mutate_inside, append, *BYTES),
    ),
    Target("dicom", dicom.make, _read_dicom, dicom.MUTATORS),
]
