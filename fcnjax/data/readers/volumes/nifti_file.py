"""Reading of NIfTI files (.nii, .nii.gz): a header whose claims are checked, and the voxels.

nibabel interprets the header and scales the voxels. We choose the format ourselves, since nibabel
would open other files for some formats, and do not read header extensions.
"""

import gzip
import io
import logging
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fcnjax.data.readers.errors import decode_error, decode_errors
from fcnjax.data.readers.limits import refuse_large_volume
from fcnjax.errors import UserError

MAX_DEFLATE_RATIO = 1032  # of deflate, the compression of gzip
MAX_OFFSET = 2**26  # bytes before the voxels: the header and its extensions
MAX_AFFINE = 1e12  # of the numbers of an affine, in any unit
_BLOCK_BYTES = 2**24  # bytes of voxels that are scaled at a time
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
# Takes what nibabel would print about a header that it repairs.
_QUIET = logging.getLogger(f"{__name__}.nibabel")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def open_nifti(path: Path) -> Any:
    """Open a NIfTI file.

    Returns:
        A nibabel image. Its `dataobj` reads slices of an uncompressed file; for a compressed one
        it only describes the voxels, which `read_voxels` reads.

    Raises:
        UserError: The file is damaged or too large, or its voxels are not real numbers on three
            axes.
    """
    import nibabel

    with _opened(path) as file:
        start = _read(path, file, _HEADER_BYTES)
    with decode_errors(path, "NIfTI"):
        kinds = (nibabel.Nifti1Image, nibabel.Nifti2Image)
        kind = next((k for k in kinds if k.header_class.may_contain_header(start)), None)
    if kind is None:
        raise decode_error(path, "has no header of NIfTI-1 or NIfTI-2", "NIfTI")
    with decode_errors(path, "NIfTI"):
        size = kind.header_class.template_dtype.itemsize
        header = kind.header_class(start[:size], check=False)
        header.check_fix(logger=_QUIET, error_level=40)
        shape = tuple(map(int, header.get_data_shape()))
        dtype = np.dtype(header.get_data_dtype())
        offset = int(header.get_data_offset())
        header["vox_offset"] = 0  # files written with this header have no extensions
        slope, inter = header.get_slope_inter()
        scale = (slope or 1.0, inter or 0.0)
        affine = np.asarray(header.get_best_affine(), float)
    if len(shape) != 3 and not (len(shape) == 4 and shape[3] == 1):
        raise UserError(f"{path}: has the shape {shape}; valid: three axes")
    if dtype.kind not in "uif":
        raise UserError(f"{path}: has {dtype} voxels; valid: numbers")
    if not (np.abs(affine) <= MAX_AFFINE).all():  # false for NaN too
        raise UserError(
            f"{path}: its affine has a number that is not finite, or above {MAX_AFFINE}"
        )
    _check_size(path, shape[:3], dtype, offset, scale != (1, 0))
    with decode_errors(path, "NIfTI"):
        # Without mmap: another process that truncates the file would crash this one.
        voxels = nibabel.arrayproxy.ArrayProxy(path, (shape, dtype, offset, *scale), mmap=False)
        return kind(voxels, affine, header)


def _check_size(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, offset: int, is_scaled: bool
) -> None:
    """Raise UserError if the file cannot hold its voxels, or they take too much memory."""
    if not 0 <= offset <= MAX_OFFSET:
        raise UserError(f"{path}: its voxels begin at byte {offset}; valid: 0 to {MAX_OFFSET}")
    stored, is_compressed = path.stat().st_size, _is_compressed(path)
    needed = offset + math.prod(shape) * dtype.itemsize
    limit = stored * MAX_DEFLATE_RATIO if is_compressed else stored
    if needed > limit and min(shape) > 0:
        kind = " compressed ones" if is_compressed else ""
        reason = f"its header and voxels take {needed} bytes, and the file has {stored}{kind}"
        raise decode_error(path, f"was cut off: {reason}", "NIfTI")
    refuse_large_volume(path, shape, max(4 if is_scaled else 0, dtype.itemsize), stored)


def is_sliced(image: Any, path: Path) -> bool:
    """Return whether `dataobj` of an opened file reads slices, which needs three axes."""
    return len(image.shape) == 3 and not _is_compressed(path)


def read_voxels(path: Path, voxels: Any) -> np.ndarray:
    """Read all voxels of a file, at most the bytes that its header claims.

    Args:
        path: The file.
        voxels: `dataobj` of the image that `open_nifti` returned.

    Returns:
        An array of three axes, of the stored type, or float32 if a scale is applied.

    Raises:
        UserError: The file is shorter than its header claims, or damaged.
    """
    from nibabel.arrayproxy import ArrayProxy

    is_scaled = (voxels.slope, voxels.inter) != (1, 0)
    dtype = voxels.dtype
    count = math.prod(voxels.shape)
    array = np.empty(count, np.float32 if is_scaled else dtype.newbyteorder("="))
    step = _BLOCK_BYTES // dtype.itemsize
    with _opened(path) as file:
        _read(path, file, voxels.offset)
        for start in range(0, count, step):
            stop = min(start + step, count)
            content = _read(path, file, (stop - start) * dtype.itemsize)
            if len(content) < (stop - start) * dtype.itemsize:
                reason = f"was cut off: it has fewer than the {count} voxels of its header"
                raise decode_error(path, reason, "NIfTI")
            block = ((stop - start,), dtype, 0, voxels.slope, voxels.inter)
            with decode_errors(path, "NIfTI"):
                array[start:stop] = np.asarray(ArrayProxy(io.BytesIO(content), block), array.dtype)
        _read(path, file, 1)  # at its end, a compressed file's checksum is verified
    return array.reshape(voxels.shape[:3], order="F")


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _opened(path: Path) -> BinaryIO:
    with decode_errors(path, "NIfTI"):
        return gzip.open(path) if _is_compressed(path) else path.open("rb")


def _read(path: Path, file: BinaryIO, count: int) -> bytes:
    """Read at most `count` bytes of a file; fewer at its end."""
    with decode_errors(path, "NIfTI"):
        return file.read(count)
