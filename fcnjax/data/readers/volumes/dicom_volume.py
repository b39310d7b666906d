"""Reading of a DICOM series as a volume, as a NIfTI file of it would hold it.

The position of a slice is given in the patient's coordinates (PS3.3, C.7.6.2.1.1): the directions
of rows and columns, the centre of the first pixel, and the pixel spacing. DICOM's x and y grow
towards the left and the back (LPS), NIfTI's towards the right and the front (RAS).
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.data.readers.volumes.dicom import read_headers
from fcnjax.data.readers.volumes.dicom_header import MIN_SPACING, Frame, Header
from fcnjax.data.readers.volumes.dicom_pixels import read_frames, refuse_undecodable
from fcnjax.errors import UserError

MAX_OFFSET = 0.1  # of a slice from its even position, as a part of the slice distance
MAX_DEVIATION = 1e-3  # of the components of a direction, between slices
_BLOCK_PIXELS = 2**20  # pixels that are scaled at a time
TO_RAS = np.diag([-1.0, -1.0, 1.0])


class Slice(NamedTuple):
    """An image of a file.

    Attributes:
        header: Header of the file.
        frame: Number of the image in the file.
    """

    header: Header
    frame: int

    @property
    def values(self) -> Frame:
        """The values of the image in the header."""
        return self.header.frames[self.frame]

    @property
    def name(self) -> str:
        """The file, with the number of the frame if it has several."""
        several = len(self.header.frames) > 1
        return f"{self.header.path}" + (f", frame {self.frame}" if several else "")


@functools.lru_cache(maxsize=1)
def load_dicom(source: Path, stamp: tuple[int, int]) -> Any:
    """Read a source as described in `dicom.py`; the last one is cached.

    Args:
        source: The source.
        stamp: Time and size of its file or folder, the key of the cache.

    Returns:
        A nibabel image: float32 `[columns, rows, slices]` with RescaleSlope and RescaleIntercept
        applied, the first slice the lowest along the normal. MONOCHROME1 is inverted, so that
        white is high. The affine is in mm, RAS; if the files give no position, its codes are 0
        (unknown), and it holds only the pixel spacing.

    Raises:
        UserError: A file is damaged, coloured, or compressed by an unsupported method; or the
            slices are not a volume: of several sizes or directions, or unevenly spaced.
    """
    del stamp
    headers = read_headers(source)
    for header in headers:
        _refuse_colour(header)
    refuse_undecodable(headers)
    slices = [Slice(header, frame) for header in headers for frame in range(len(header.frames))]
    _refuse_unlike(slices)
    has_positions = slices[0].values.position is not None
    if has_positions:
        slices = _sort(slices)
    elif len(headers) > 1:
        raise UserError(
            f"{slices[0].name}: has no ImagePositionPatient, by which slices are put in order"
        )
    return _image(_voxels(slices), slices, has_positions)


def _refuse_colour(header: Header) -> None:
    kind = header.pixels.photometric
    if header.pixels.samples != 1 or not kind.startswith("MONOCHROME"):
        raise UserError(f"{header.path}: is a colour image ({kind}); volumes are grey")


def _refuse_unlike(slices: Sequence[Slice]) -> None:
    """Raise UserError unless all slices have the size and direction of the first."""
    first = slices[0]
    directions = np.asarray([item.values.directions for item in slices])
    spacing = np.asarray([item.values.spacing for item in slices])
    is_parallel = np.isclose(directions, directions[0], rtol=0, atol=MAX_DEVIATION).all(1)
    is_alike = np.isclose(spacing, spacing[0], rtol=MAX_DEVIATION, atol=0).all(1)
    for index, item in enumerate(slices):
        size, other = (f"{s.header.pixels.columns}x{s.header.pixels.rows}" for s in (item, first))
        if size != other:
            raise UserError(
                f"{item.name}: has {size} pixels, and {first.name} {other}; slices of a series are "
                "of one size"
            )
        if (item.values.position is None) != (first.values.position is None):
            raise UserError(
                f"{item.name if item.values.position is None else first.name}: has no "
                "ImagePositionPatient, which others of its series have"
            )
        if not is_parallel[index]:
            raise UserError(
                f"{item.name}: lies in another direction than {first.name}; slices of a "
                "series are parallel"
            )
        if not is_alike[index]:
            raise UserError(
                f"{item.name}: has the PixelSpacing {item.values.spacing}, and {first.name} "
                f"{first.values.spacing}"
            )


def _sort(slices: Sequence[Slice]) -> list[Slice]:
    """Sort slices by their position along the normal.

    Raises:
        UserError: The slices are not evenly spaced, or two have the same position.
    """
    normal = np.cross(slices[0].values.directions[:3], slices[0].values.directions[3:])
    slices = sorted(slices, key=lambda item: float(item.values.position @ normal))
    if len(slices) == 1:
        return slices
    positions = np.asarray([item.values.position for item in slices])
    gaps = np.diff(positions @ normal)
    typical, least = float(np.median(gaps)), int(gaps.argmin())
    if gaps[least] <= max(MAX_OFFSET * typical, MIN_SPACING):
        raise UserError(
            f"{slices[least + 1].name}: has the position of {slices[least].name}; a series of "
            "several volumes (times, echoes) is not supported"
        )
    even = np.linspace(positions[0], positions[-1], len(positions))
    offsets = positions - even
    if np.abs(offsets @ normal).max() > MAX_OFFSET * typical:
        worst = int(np.abs(gaps - typical).argmax())
        raise UserError(
            f"{slices[worst + 1].name}: lies {gaps[worst]:.6g} mm after {slices[worst].name}, and "
            f"others of the series {typical:.6g} mm: slices are missing or unevenly spaced"
        )
    worst = int(np.linalg.norm(offsets, axis=1).argmax())
    if np.linalg.norm(offsets[worst]) > MAX_OFFSET * typical:
        raise UserError(f"{slices[worst].name}: lies beside the line of the other slices")
    return slices


def _voxels(slices: Sequence[Slice]) -> np.ndarray:
    """Return intensities `[columns, rows, slices]` float32; each file is read once."""
    first = slices[0].header.pixels
    voxels = np.empty((first.columns, first.rows, len(slices)), np.float32)
    step = max(_BLOCK_PIXELS // first.columns, 1)
    indices = {(item.header.path, item.frame): index for index, item in enumerate(slices)}
    for path, header in {item.header.path: item.header for item in slices}.items():
        for frame, stored in enumerate(read_frames(header)):
            plane = voxels[..., indices[path, frame]].T
            for row in range(0, first.rows, step):  # float64 of the whole slice takes much memory
                block = np.s_[row : row + step]
                with np.errstate(over="ignore", invalid="ignore"):  # of values stored as floats
                    plane[block] = _intensities(header, frame, stored[block])
    return voxels


def _intensities(header: Header, frame: int, stored: np.ndarray) -> np.ndarray:
    """Convert the stored values of a frame to intensities, white high."""
    pixels = header.pixels
    if pixels.photometric == "MONOCHROME1":
        low = -(2 ** (pixels.bits_stored - 1)) if pixels.is_signed else 0
        stored = 2 * low + 2**pixels.bits_stored - 1 - stored.astype(np.int64)
    if header.table is not None:
        table, first = header.table
        return table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)]
    return stored * header.frames[frame].slope + header.frames[frame].intercept


def _image(voxels: np.ndarray, slices: Sequence[Slice], has_positions: bool) -> Any:
    """Return the volume with its affine."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units("mm")
    first, last = slices[0], slices[-1]
    rows, columns = first.values.spacing
    if not has_positions:
        header.set_zooms((columns, rows, first.values.thickness))
        return nibabel.Nifti1Image(voxels, header.get_best_affine(), header)
    directions = np.reshape(first.values.directions, (2, 3))
    position = np.asarray(first.values.position)
    step = np.cross(*directions) * first.values.thickness
    if len(slices) > 1:
        step = (np.asarray(last.values.position) - position) / (len(slices) - 1)
    affine = np.eye(4)
    axes = np.stack([directions[0] * columns, directions[1] * rows, step], 1)
    affine[:3, :3], affine[:3, 3] = TO_RAS @ axes, TO_RAS @ position
    image = nibabel.Nifti1Image(voxels, affine, header)
    image.set_sform(affine, code="scanner")
    # A qform cannot represent a slanted stack (of a tilted gantry).
    is_right_angled = np.allclose(image.get_qform(), affine, atol=1e-3)
    image.set_qform(affine, code="scanner" if is_right_angled else "unknown")
    return image
