"""Reads NIfTI files (.nii, .nii.gz): a header whose claims are checked, and the voxels.

nibabel interprets the header and scales the voxels. It does not choose the file's format, which
would open other files for some of them, and it does not read header extensions.
"""

import gzip
import io
import logging
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fcnjax.data.readers.volumes.library_errors import errors_of
from fcnjax.data.readers.volumes.limits import refuse_large_volume
from fcnjax.errors import UserError

MOST_DEFLATED = 1032  # bytes that a byte of deflate, the compression of gzip, can hold
MOST_OFFSET = 2**26  # bytes before the voxels: the header and its extensions
FARTHEST = 1e12  # of an affine's numbers, whatever their unit
_CHUNK = 2**24  # bytes of voxels that are scaled at a time
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
# What nibabel mends in a header, it would print.
_QUIET = logging.getLogger(f"{__name__}.nibabel")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def open_nifti(path: Path) -> Any:
    """Opens a NIfTI file.

    Returns:
        A nibabel image. Its `dataobj` reads slices of an uncompressed file; of a compressed one it
        only describes the voxels, which `read_voxels` reads.

    Raises:
        UserError: The file is damaged or too large, its voxels are not real numbers, or its axes
            are other than three.
    """
    import nibabel

    with _opened(path) as file:
        start = _read(path, file, _HEADER_BYTES)
    with errors_of(path, "NIfTI"):
        kinds = (nibabel.Nifti1Image, nibabel.Nifti2Image)
        kind = next((k for k in kinds if k.header_class.may_contain_header(start)), None)
    if kind is None:
        raise UserError(f"{path}: cannot be read as NIfTI: has no header of NIfTI-1 or NIfTI-2")
    with errors_of(path, "NIfTI"):
        size = kind.header_class.template_dtype.itemsize
        header = kind.header_class(start[:size], check=False)
        header.check_fix(logger=_QUIET, error_level=40)
        shape = tuple(map(int, header.get_data_shape()))
        dtype = np.dtype(header.get_data_dtype())
        offset = int(header.get_data_offset())
        header["vox_offset"] = 0  # a file that is written with this header has no extensions
        slope, inter = header.get_slope_inter()
        scale = (slope or 1.0, inter or 0.0)
        affine = np.asarray(header.get_best_affine(), float)
    if len(shape) != 3 and not (len(shape) == 4 and shape[3] == 1):
        raise UserError(f"{path}: has the shape {shape}; valid: three axes")
    if dtype.kind not in "uif":
        raise UserError(f"{path}: has {dtype} voxels; valid: numbers")
    if not (np.abs(affine) <= FARTHEST).all():  # neither is NaN
        raise UserError(f"{path}: its affine has a number that is not finite, or above {FARTHEST}")
    _check_size(path, shape[:3], dtype, offset, scale != (1, 0))
    with errors_of(path, "NIfTI"):
        # Beside a file that is mapped into memory, another process could end this one.
        voxels = nibabel.arrayproxy.ArrayProxy(path, (shape, dtype, offset, *scale), mmap=False)
        return kind(voxels, affine, header)


def _check_size(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, offset: int, is_scaled: bool
) -> None:
    """Raises UserError for voxels that the file cannot hold, or that take too much memory."""
    if not 0 <= offset <= MOST_OFFSET:
        raise UserError(f"{path}: its voxels begin at byte {offset}; valid: 0 to {MOST_OFFSET}")
    stored, is_compressed = path.stat().st_size, _is_compressed(path)
    needed = offset + math.prod(shape) * dtype.itemsize
    if needed > (stored * MOST_DEFLATED if is_compressed else stored) and min(shape) > 0:
        raise UserError(
            f"{path}: cannot be read as NIfTI: was cut off: its header and voxels take {needed} "
            f"bytes, and the file has {stored}{' compressed ones' if is_compressed else ''}"
        )
    refuse_large_volume(path, shape, max(4 if is_scaled else 0, dtype.itemsize), stored)


def is_sliced(image: Any, path: Path) -> bool:
    """Return whether `dataobj` of an opened file reads slices, which it does of three axes."""
    return len(image.shape) == 3 and not _is_compressed(path)


def read_voxels(path: Path, voxels: Any) -> np.ndarray:
    """Reads all voxels of a file, at most the bytes that its header says.

    Args:
        path: The file.
        voxels: `dataobj` of what `open_nifti` returned.

    Returns:
        An array of three axes, of the stored type, or float32 where a scale is applied.

    Raises:
        UserError: The file is shorter than its header says, or damaged.
    """
    from nibabel.arrayproxy import ArrayProxy

    is_scaled = (voxels.slope, voxels.inter) != (1, 0)
    dtype = voxels.dtype
    count = math.prod(voxels.shape)
    held = np.empty(count, np.float32 if is_scaled else dtype.newbyteorder("="))
    step = _CHUNK // dtype.itemsize
    with _opened(path) as file:
        _read(path, file, voxels.offset)
        for start in range(0, count, step):
            stop = min(start + step, count)
            content = _read(path, file, (stop - start) * dtype.itemsize)
            if len(content) < (stop - start) * dtype.itemsize:
                raise UserError(
                    f"{path}: cannot be read as NIfTI: was cut off: it has fewer than the {count} "
                    "voxels that its header says"
                )
            stored = ((stop - start,), dtype, 0, voxels.slope, voxels.inter)
            with errors_of(path, "NIfTI"):
                held[start:stop] = np.asarray(ArrayProxy(io.BytesIO(content), stored), held.dtype)
        _read(path, file, 1)  # at the end of a compressed file its checksum is compared
    return held.reshape(voxels.shape[:3], order="F")


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _opened(path: Path) -> BinaryIO:
    try:
        return gzip.open(path) if _is_compressed(path) else path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(path: Path, file: BinaryIO, count: int) -> bytes:
    """At most so many bytes of a file; fewer at its end."""
    try:
        return file.read(count)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as NIfTI: {reason}") from error
