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

from fcnjax.data.dicom import Header, frames_of, guarded, read_headers, refuse_undecodable
from fcnjax.errors import UserError

MOST_OFF = 0.1  # of the distance of slices, how far one may lie from where it should
MOST_TURNED = 1e-3  # of a direction's parts, between slices
TO_RAS = np.diag([-1.0, -1.0, 1.0])


class Slice(NamedTuple):
    """An image: a file's, or a frame of one.

    Attributes:
        header: Of its file.
        frame: Its number in the file.
        position: `[3]` mm, the middle of the first pixel; None: the file does not say.
        directions: `[2, 3]`: that in which columns follow each other, and rows.
        spacing: mm from row to row, and from column to column.
        thickness: mm from this slice to the next, as its file says.
    """

    header: Header
    frame: int
    position: np.ndarray | None
    directions: np.ndarray
    spacing: tuple[float, float]
    thickness: float

    @property
    def name(self) -> str:
        """The file's, and the frame's number where it has several."""
        several = frames_of(self.header) > 1
        return f"{self.header.path}" + (f", frame {self.frame}" if several else "")


@functools.lru_cache(maxsize=1)
def load_dicom(source: Path, stamp: tuple[int, int]) -> Any:
    """Reads a source as `fcnjax/data/dicom.py` has them; the last one is kept.

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
    slices = [one for header in headers for one in guarded(header.path, lambda h=header: _cut(h))]
    _refuse_unlike(slices)
    placed = slices[0].position is not None
    if placed:
        slices = _in_order(slices)
    elif len(headers) > 1:
        raise UserError(
            f"{slices[0].name}: has no ImagePositionPatient, by which slices are put in order"
        )
    return _image(_voxels(slices), slices, placed)


def _refuse_colour(header: Header) -> None:
    kind = str(header.data.get("PhotometricInterpretation", "MONOCHROME2"))
    if header.data.get("SamplesPerPixel", 1) != 1 or not kind.startswith("MONOCHROME"):
        raise UserError(f"{header.path}: is a colour image ({kind}); volumes are grey")


def _cut(header: Header) -> list[Slice]:
    """The frames of a file."""
    found = []
    for frame in range(frames_of(header)):

        def of(sequence: str, key: str, frame: int = frame) -> Any:
            return _value(header.data, frame, sequence, key)

        position = of("PlanePositionSequence", "ImagePositionPatient")
        directions = of("PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = of("PixelMeasuresSequence", "PixelSpacing")
        spacing = spacing or header.data.get("ImagerPixelSpacing") or (1, 1)
        thickness = header.data.get("SpacingBetweenSlices")
        thickness = thickness or of("PixelMeasuresSequence", "SliceThickness") or 1
        # Several frames of which the file gives but one place lie nobody knows where.
        placed = position and directions and not (frames_of(header) > 1 and _is_shared(header))
        found.append(
            Slice(
                header,
                frame,
                np.asarray(position, float).reshape(3) if placed else None,
                np.asarray(directions or (1, 0, 0, 0, 1, 0), float).reshape(2, 3),
                (float(spacing[0]), float(spacing[1])),
                abs(float(thickness)) or 1.0,
            )
        )
    return found


def _is_shared(header: Header) -> bool:
    return "PerFrameFunctionalGroupsSequence" not in header.data


def _value(data: Any, frame: int, sequence: str, key: str) -> Any:
    """What a file says of a frame: in groups of the frame, of all frames, or by itself."""
    groups = list(data.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    for group in (*groups, *(data.get("SharedFunctionalGroupsSequence") or ())):
        items = group.get(sequence)
        if items and items[0].get(key) is not None:
            return items[0].get(key)
    return data.get(key)


def _refuse_unlike(slices: Sequence[Slice]) -> None:
    """Raises UserError unless all are of the first one's size and direction."""
    first = slices[0]
    for one in slices[1:]:
        size, other = ((s.header.data.Rows, s.header.data.Columns) for s in (one, first))
        if size != other:
            raise UserError(
                f"{one.name}: has {size[1]}x{size[0]} pixels, and {first.name} "
                f"{other[1]}x{other[0]}; slices of a series are of one size"
            )
        if (one.position is None) != (first.position is None):
            raise UserError(
                f"{one.name if one.position is None else first.name}: has no "
                "ImagePositionPatient, which others of its series have"
            )
        if not np.allclose(one.directions, first.directions, atol=MOST_TURNED):
            raise UserError(
                f"{one.name}: lies in another direction than {first.name}; slices of a "
                "series are parallel"
            )
        if not np.allclose(one.spacing, first.spacing, rtol=MOST_TURNED):
            raise UserError(
                f"{one.name}: has the PixelSpacing {one.spacing}, and {first.name} {first.spacing}"
            )


def _in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices by their place along the normal.

    Raises:
        UserError: They are not evenly spaced, or two lie at one place.
    """
    normal = np.cross(*slices[0].directions)
    slices = sorted(slices, key=lambda one: float(one.position @ normal))
    if len(slices) == 1:
        return slices
    positions = np.stack([one.position for one in slices])
    gaps = np.diff(positions @ normal)
    usual, least = float(np.median(gaps)), int(gaps.argmin())
    if gaps[least] <= MOST_OFF * usual:
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
    first = slices[0].header.data
    shape = (first.Columns, first.Rows, len(slices))
    voxels = guarded(slices[0].header.path, lambda: np.empty(shape, np.float32))
    files: dict[Path, list[int]] = {}
    for place, one in enumerate(slices):
        files.setdefault(one.header.path, []).append(place)

    def fill(path: Path, places: Sequence[int]) -> None:
        import pydicom

        data = pydicom.dcmread(path)
        stored = data.pixel_array.reshape(-1, first.Rows, first.Columns)
        for place in places:
            frame = slices[place].frame
            voxels[..., place] = _intensities(data, frame, stored[frame]).T

    for path, places in files.items():
        guarded(path, lambda path=path, places=places: fill(path, places))
    return voxels


def _intensities(data: Any, frame: int, stored: np.ndarray) -> np.ndarray:
    """What the stored values of a frame `[H, W]` stand for, white high."""
    from pydicom.pixels import apply_modality_lut

    if data.PhotometricInterpretation == "MONOCHROME1":
        least = -(2 ** (data.BitsStored - 1)) if data.PixelRepresentation else 0
        stored = 2 * least + 2**data.BitsStored - 1 - stored.astype(np.int64)
    if data.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, data)
    slope = _value(data, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _value(data, frame, "PixelValueTransformationSequence", "RescaleIntercept")
    return stored * float(1 if slope is None else slope) + float(intercept or 0)


def _image(voxels: np.ndarray, slices: Sequence[Slice], placed: bool) -> Any:
    """The volume with its affine."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units("mm")
    first, last = slices[0], slices[-1]
    rows, columns = first.spacing
    if not placed:
        header.set_zooms((columns, rows, first.thickness))
        return nibabel.Nifti1Image(voxels, header.get_best_affine(), header)
    step = np.cross(*first.directions) * first.thickness
    if len(slices) > 1:
        step = (last.position - first.position) / (len(slices) - 1)
    affine = np.eye(4)
    along = np.stack([first.directions[0] * columns, first.directions[1] * rows, step], 1)
    affine[:3, :3], affine[:3, 3] = TO_RAS @ along, TO_RAS @ first.position
    image = nibabel.Nifti1Image(voxels, affine, header)
    image.set_sform(affine, code="scanner")
    # The other form holds no slanted stack (of a tilted gantry).
    is_right_angled = np.allclose(image.get_qform(), affine, atol=1e-3)
    image.set_qform(affine, code="scanner" if is_right_angled else "unknown")
    return image
