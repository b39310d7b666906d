"""A DICOM series as a volume in its place: what a NIfTI file of it would hold.

The place of a slice is in the patient's coordinates by PS3.3, C.7.6.2.1.1: the direction of rows
and of columns, the middle of the first pixel and the distances of pixels. DICOM's x and y grow
towards the left and the back (LPS), NIfTI's towards the right and the front (RAS).
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.data.readers.volumes.dicom import read_headers
from fcnjax.data.readers.volumes.dicom_header import NEAREST, Frame, Header
from fcnjax.data.readers.volumes.dicom_pixels import read_frames, refuse_undecodable
from fcnjax.errors import UserError

MOST_OFF = 0.1  # of the distance of slices, how far one may lie from where it should
MOST_TURNED = 1e-3  # of a direction's parts, between slices
_AT_ONCE = 2**20  # pixels that are scaled at a time
TO_RAS = np.diag([-1.0, -1.0, 1.0])


class Slice(NamedTuple):
    """An image: a file's, or a frame of one.

    Attributes:
        header: Of its file.
        frame: Its number in the file.
    """

    header: Header
    frame: int

    @property
    def of(self) -> Frame:
        """The file's header of the image."""
        return self.header.frames[self.frame]

    @property
    def name(self) -> str:
        """The file's, and the frame's number where it has several."""
        several = len(self.header.frames) > 1
        return f"{self.header.path}" + (f", frame {self.frame}" if several else "")


@functools.lru_cache(maxsize=1)
def load_dicom(source: Path, stamp: tuple[int, int]) -> Any:
    """Reads a source as `fcnjax/data/readers/volumes/dicom.py` has them; the last one is kept.

    Args:
        source: The source.
        stamp: Of its file or folder, by which one that was written again is another.

    Returns:
        A nibabel image: float32 `[columns, rows, slices]` with RescaleSlope and RescaleIntercept
        applied, the first slice the lowest along the normal. MONOCHROME1 is inverted, so that
        white is high. Its affine gives mm, RAS; where files do not say where they lie, the codes
        of the affine are 0 (unknown), and it has the distances of pixels alone.

    Raises:
        UserError: A file is damaged, coloured, or compressed in a way that cannot be decoded; or
            the slices are no volume: of several sizes or directions, or not evenly spaced.
    """
    del stamp
    headers = read_headers(source)
    for header in headers:
        _refuse_colour(header)
    refuse_undecodable(headers)
    slices = [Slice(header, frame) for header in headers for frame in range(len(header.frames))]
    _refuse_unlike(slices)
    placed = slices[0].of.position is not None
    if placed:
        slices = _in_order(slices)
    elif len(headers) > 1:
        raise UserError(
            f"{slices[0].name}: has no ImagePositionPatient, by which slices are put in order"
        )
    return _image(_voxels(slices), slices, placed)


def _refuse_colour(header: Header) -> None:
    kind = header.pixels.photometric
    if header.pixels.samples != 1 or not kind.startswith("MONOCHROME"):
        raise UserError(f"{header.path}: is a colour image ({kind}); volumes are grey")


def _refuse_unlike(slices: Sequence[Slice]) -> None:
    """Raises UserError unless all are of the first one's size and direction."""
    first = slices[0]
    directions, spacing = (
        np.isclose(values, values[0], rtol=rtol, atol=atol).all(1)
        for values, rtol, atol in (
            (np.asarray([one.of.directions for one in slices]), 0, MOST_TURNED),
            (np.asarray([one.of.spacing for one in slices]), MOST_TURNED, 0),
        )
    )
    for place, one in enumerate(slices):
        size, other = ((s.header.pixels.rows, s.header.pixels.columns) for s in (one, first))
        if size != other:
            raise UserError(
                f"{one.name}: has {size[1]}x{size[0]} pixels, and {first.name} "
                f"{other[1]}x{other[0]}; slices of a series are of one size"
            )
        if (one.of.position is None) != (first.of.position is None):
            raise UserError(
                f"{one.name if one.of.position is None else first.name}: has no "
                "ImagePositionPatient, which others of its series have"
            )
        if not directions[place]:
            raise UserError(
                f"{one.name}: lies in another direction than {first.name}; slices of a "
                "series are parallel"
            )
        if not spacing[place]:
            raise UserError(
                f"{one.name}: has the PixelSpacing {one.of.spacing}, and {first.name} "
                f"{first.of.spacing}"
            )


def _in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices by their place along the normal.

    Raises:
        UserError: They are not evenly spaced, or two lie at one place.
    """
    normal = np.cross(slices[0].of.directions[:3], slices[0].of.directions[3:])
    slices = sorted(slices, key=lambda one: float(one.of.position @ normal))
    if len(slices) == 1:
        return slices
    positions = np.asarray([one.of.position for one in slices])
    gaps = np.diff(positions @ normal)
    usual, least = float(np.median(gaps)), int(gaps.argmin())
    if gaps[least] <= max(MOST_OFF * usual, NEAREST):
        raise UserError(
            f"{slices[least + 1].name}: lies where {slices[least].name} does; a series of several "
            "volumes (times, echoes) is not read"
        )
    off = positions - _line(positions)
    if np.abs(off @ normal).max() > MOST_OFF * usual:
        worst = int(np.abs(gaps - usual).argmax())
        raise UserError(
            f"{slices[worst + 1].name}: lies {gaps[worst]:.6g} mm after {slices[worst].name}, and "
            f"others of the series {usual:.6g} mm: slices are missing or unevenly spaced"
        )
    worst = int(np.linalg.norm(off, axis=1).argmax())
    if np.linalg.norm(off[worst]) > MOST_OFF * usual:
        raise UserError(f"{slices[worst].name}: lies beside the line of the other slices")
    return slices


def _line(positions: np.ndarray) -> np.ndarray:
    """Where slices would lie that are evenly spaced from the first to the last, `[N, 3]`."""
    return np.linspace(positions[0], positions[-1], len(positions))


def _voxels(slices: Sequence[Slice]) -> np.ndarray:
    """Intensities `[columns, rows, slices]` float32; each file is read once."""
    first = slices[0].header.pixels
    voxels = np.empty((first.columns, first.rows, len(slices)), np.float32)
    step = max(_AT_ONCE // first.columns, 1)
    places = {(one.header.path, one.frame): place for place, one in enumerate(slices)}
    for path, header in {one.header.path: one.header for one in slices}.items():
        for frame, stored in enumerate(read_frames(header)):
            to = voxels[..., places[path, frame]].T
            for row in range(0, first.rows, step):  # float64 of all at once would be much
                part = np.s_[row : row + step]
                with np.errstate(over="ignore", invalid="ignore"):  # of values stored as floats
                    to[part] = _intensities(header, frame, stored[part])
    return voxels


def _intensities(header: Header, frame: int, stored: np.ndarray) -> np.ndarray:
    """Converts the stored values of a frame to those that they stand for, white high."""
    pixels = header.pixels
    if pixels.photometric == "MONOCHROME1":
        least = -(2 ** (pixels.bits_stored - 1)) if pixels.is_signed else 0
        stored = 2 * least + 2**pixels.bits_stored - 1 - stored.astype(np.int64)
    if header.table is not None:
        table, first = header.table
        return table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)]
    return stored * header.frames[frame].slope + header.frames[frame].intercept


def _image(voxels: np.ndarray, slices: Sequence[Slice], placed: bool) -> Any:
    """The volume with its affine."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units("mm")
    first, last = slices[0], slices[-1]
    rows, columns = first.of.spacing
    if not placed:
        header.set_zooms((columns, rows, first.of.thickness))
        return nibabel.Nifti1Image(voxels, header.get_best_affine(), header)
    directions, position = np.reshape(first.of.directions, (2, 3)), np.asarray(first.of.position)
    step = np.cross(*directions) * first.of.thickness
    if len(slices) > 1:
        step = (np.asarray(last.of.position) - position) / (len(slices) - 1)
    affine = np.eye(4)
    along = np.stack([directions[0] * columns, directions[1] * rows, step], 1)
    affine[:3, :3], affine[:3, 3] = TO_RAS @ along, TO_RAS @ position
    image = nibabel.Nifti1Image(voxels, affine, header)
    image.set_sform(affine, code="scanner")
    # The other form holds no slanted stack (of a tilted gantry).
    is_right_angled = np.allclose(image.get_qform(), affine, atol=1e-3)
    image.set_qform(affine, code="scanner" if is_right_angled else "unknown")
    return image
