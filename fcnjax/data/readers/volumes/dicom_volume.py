"""Reading of a DICOM series as a volume, as a NIfTI file of it would hold it.

A source is a folder with one series, a file of one image or of many frames, or `FOLDER/UID`: the
series of a folder with that SeriesInstanceUID.

The position of a slice is given in the patient's coordinates (PS3.3, C.7.6.2.1.1): the directions
of rows and columns, the centre of the first pixel, and the pixel spacing. DICOM's x and y grow
towards the left and the back (LPS), NIfTI's towards the right and the front (RAS).
"""

import contextlib
import functools
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.readers.errors import require_package
from fcnjax.data.readers.volumes.dicom_elements import MAGIC, MAGIC_AT
from fcnjax.data.readers.volumes.dicom_header import MIN_SPACING, Frame, Header, read_header
from fcnjax.data.readers.volumes.dicom_pixels import read_frames, refuse_undecodable
from fcnjax.errors import UserError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_LISTED = 4  # series that an error names
_UID = re.compile(r"\d+(\.\d+)+")
# pydicom warns of files that break the standard, even if it can read them. (A filter around each
# read would not work: filters belong to the process, and files are read in threads.)
warnings.filterwarnings("ignore", module=r"pydicom\.")
MAX_OFFSET = 0.1  # of a slice from its even position, as a part of the slice distance
MAX_DEVIATION = 1e-3  # of the components of a direction, between slices
_BLOCK_PIXELS = 2**20  # pixels that are scaled at a time
TO_RAS = np.diag([-1.0, -1.0, 1.0])


def is_dicom(path: Path) -> bool:
    """Return whether a path is a source as above: a folder with any content, or a DICOM file."""
    return (
        path.suffix.lower() in DICOM_SUFFIXES
        or path.is_dir()
        or _seems_dicom(path)
        or is_series(path)
    )


def dicom_files(folder: Path) -> list[Path]:
    """List the files of a folder that are DICOM, by content or suffix."""
    return sorted(path for path in folder.iterdir() if _seems_dicom(path))


def holds_dicom(folder: Path) -> bool:
    """Return whether `dicom_files` finds any; False if the folder cannot be read."""
    with contextlib.suppress(OSError):
        return any(map(_seems_dicom, folder.iterdir()))
    return False


def is_series(path: Path) -> bool:
    """Return whether a path is `FOLDER/UID`, and not the path of a file or folder."""
    is_uid = _UID.fullmatch(path.name) is not None and not path.exists()
    return is_uid and path.parent.is_dir() and holds_dicom(path.parent)


def _seems_dicom(path: Path) -> bool:
    suffix = path.suffix.lower()
    # Images are excluded by suffix: none of a million of them is opened. Hidden files, which
    # systems put beside others, may have their suffixes.
    if suffix in IMAGE_SUFFIXES or path.name.startswith("."):
        return False
    if suffix in DICOM_SUFFIXES or not path.is_file():
        return path.is_file()
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    return False


def read_headers(source: Path) -> list[Header]:
    """Read the headers of a source's images, in the order of the file names.

    Other files in a folder, such as reports and the index DICOMDIR, are skipped.

    Raises:
        UserError: pydicom is not installed, a file is damaged or not an image, or there is no
            series or more than one.
    """
    require_package(source, "pydicom", "medical")
    if source.is_file():
        header = _read(source)
        if header.pixels is None:
            raise UserError(f"{source}: is not an image, but {header.kind}")
        return [header]
    folder, uid = (source, None) if source.is_dir() else (source.parent, source.name)
    files = dicom_files(folder)
    if not files:
        raise UserError(f"{folder}: holds no DICOM file; valid: a folder with a series")
    headers = [_read(path) for path in files]
    images = [header for header in headers if header.pixels is not None]
    if not images:
        raise UserError(f"{folder}: holds no DICOM image, but {headers[0].kind}")
    series: dict[str, list[Header]] = {}
    for header in images:
        series.setdefault(header.series, []).append(header)
    if uid is None and len(series) == 1:
        return images
    if uid not in series:
        raise _ambiguous(folder, uid, series)
    return series[uid]


def _ambiguous(folder: Path, uid: str | None, series: dict[str, list[Header]]) -> UserError:
    """Return the error for a folder of several series, or without the one requested."""
    items = []
    for name, headers in list(series.items())[:MAX_LISTED]:
        description = headers[0].description
        description = f", {description[:40]}" if description else ""
        items.append(f"{name} ({len(headers)} files{description})")
    if len(series) > MAX_LISTED:
        items.append(f"{len(series) - MAX_LISTED} more")
    text = "; ".join(items)
    if uid is not None:
        return UserError(f"{folder}: holds no series {uid}; valid: {text}")
    return UserError(
        f"{folder}: holds {len(series)} series: {text}. Give one as {folder}/UID, or the files "
        "of single images by their names"
    )


def _read(path: Path) -> Header:
    header = read_header(path)
    # A file without its class was cut off before it.
    if header.pixels is None and (not header.kind or header.kind.endswith("Image Storage")):
        raise UserError(f"{path}: was cut off: its header has no image size")
    return header


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
    """Read a source, of the kinds that the module lists; the last one is cached.

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
        kind = header.pixels.photometric_interpretation
        if header.pixels.samples_per_pixel != 1 or not kind.startswith("MONOCHROME"):
            raise UserError(f"{header.path}: is a colour image ({kind}); volumes are grey")
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
    if pixels.photometric_interpretation == "MONOCHROME1":
        low = -(2 ** (pixels.bits_stored - 1)) if pixels.pixel_representation else 0
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
