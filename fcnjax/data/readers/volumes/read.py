"""Reads volumes stored as NIfTI or, for prediction, as DICOM: whole or a slice of them.

An uncompressed `.nii` is read slice by slice. A `.nii.gz` has to be read whole, and the last few
are kept: sets larger than that are read faster in random order once they are decompressed. A DICOM
series is read whole, and the last one is kept.
"""

import functools
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.labels.whole_numbers import whole_numbers
from fcnjax.data.readers.volumes.dicom import is_dicom, is_series
from fcnjax.data.readers.volumes.dicom_volume import load_dicom
from fcnjax.data.readers.volumes.library_errors import errors_of
from fcnjax.data.readers.volumes.nifti_file import is_sliced, open_nifti, read_voxels
from fcnjax.data.readers.volumes.orientation import Turn, turn_to
from fcnjax.errors import UserError

SUFFIXES = (".nii.gz", ".nii")
KEPT = 6  # volumes, images and masks alike, that a process holds
KEPT_BYTES = 2**31  # that they take, where they are more than two
PERCENTILES = (0.5, 99.5)
_SAMPLED = 2**23  # voxels, about, that percentiles are taken of


def to_pixels(
    values: np.ndarray, low: float, high: float, pixel_type: str = "uint16"
) -> np.ndarray:
    """Scales intensities from `low`..`high` to all values of the type; NaN is 0.

    Those beyond are cut off.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite values and the largest
        scaled = (values.astype(np.float32) - low) / (high - low if high > low else 1)
    most = np.iinfo(pixel_type).max
    return np.round(np.clip(np.nan_to_num(scaled), 0, 1) * most).astype(pixel_type)


class SliceReading:
    """How slices of volumes become images; the same in training and in prediction.

    Args:
        data: `config.data`.

    Attributes:
        axis: Along which slices of the turned volume are taken.

    Raises:
        UserError: `channels` or `pixel_type` is none that volumes have.
    """

    def __init__(self, data: ConfigDict):
        self.axis = data.nifti.axis
        self._orientation = data.nifti.orientation
        self._pixel_type = _pixel_type(data)
        self._window = tuple(data.nifti.intensity)
        self._channels = _channels(data)

    def turn(self, path: Path) -> Turn:
        """The turn that brings a volume to `config.data.nifti.orientation`.

        Raises:
            UserError: As `load_header`, and `turn_to`.
        """
        return _turn(path, _stamp(path), self._orientation)

    def stored(self, path: Path, position: int) -> np.ndarray:
        """A slice `[H, W]` of the turned volume, its scale applied.

        Raises:
            UserError: As `read_slice`, and `turn`.
        """
        return read_slice(path, self.axis, position, self.turn(path))

    def labels(self, path: Path, position: int) -> np.ndarray:
        """A slice `[H, W]` of what a mask stores, turned.

        Raises:
            UserError: As `read_slice`, and `turn`; or the values are no whole numbers.
        """
        return whole_numbers(self.stored(path, position), path, step=_step(path))

    def image(self, path: Path, position: int) -> np.ndarray:
        """A slice as an image `[H, W, C]` uint16, or uint8 for a model of that.

        Raises:
            UserError: As `stored`, and `percentiles`.
        """
        low, high = self._window or percentiles(path)
        image = to_pixels(self.stored(path, position), low, high, self._pixel_type)
        return np.repeat(image[..., None], self._channels, -1)


def _pixel_type(data: ConfigDict) -> str:
    # A window scales intensities to a whole type, so that both have the same meaning.
    pixel_type = data.pixel_type or "uint16"
    if pixel_type not in ("uint8", "uint16"):
        raise UserError(
            f"config.data.pixel_type: slices of volumes are uint8 or uint16, and not {pixel_type}: "
            "config.data.nifti.intensity becomes all values of the type"
        )
    return pixel_type


@functools.lru_cache(maxsize=4096)
def _turn(path: Path, stamp: tuple[int, int], orientation: str | None) -> Turn:
    del stamp
    return turn_to(orientation, load_header(path), str(path))


def _channels(data: ConfigDict) -> int:
    if data.channels not in ("L", "RGB"):
        raise UserError(
            f"config.data.channels: {data.channels!r}: volumes have L (grey), or RGB: the same "
            "three times"
        )
    return len(data.channels)


def read_slice(path: Path, axis: int, position: int, turn: Turn | None = None) -> np.ndarray:
    """Reads a slice `[H, W]` of a volume, its scale applied.

    Args:
        path: The volume.
        axis: Of the turned volume.
        position: Along that.
        turn: How the volume is turned; None: not at all.

    Raises:
        UserError: The file is missing or damaged, or nibabel is not installed.
    """
    turn, voxels = turn or Turn(), _voxels(path)
    if isinstance(voxels, np.ndarray):
        return turn.read_slice(voxels, axis, position)
    with errors_of(path, "NIfTI"):
        return turn.read_slice(voxels, axis, position)


def label_values(path: Path) -> list[int]:
    """The values that a mask stores, as `whole_numbers` makes them, in order.

    Raises:
        UserError: As `read_slice`; or the values are no whole numbers.
    """
    found: set[int] = set()
    for position in range(_voxels(path).shape[2]):  # the whole would take many copies
        labels = whole_numbers(read_slice(path, 2, position), path, step=_step(path))
        found.update(np.unique(labels).tolist())
    return sorted(found)


def _step(path: Path) -> float:
    """The scale of a volume, between two values of which no other can be stored; 0 without."""
    return _scale(path, _stamp(path))


@functools.lru_cache(maxsize=1024)
def _scale(path: Path, stamp: tuple[int, int]) -> float:
    del stamp  # a file that was written again is another
    return abs(float(getattr(load_header(path).dataobj, "slope", 0.0)))


def percentiles(path: Path) -> tuple[float, float]:
    """The intensities of a volume that lie at `PERCENTILES` of its finite voxels.

    Raises:
        UserError: As `read_slice`.
    """
    return _percentiles(path, _stamp(path))


@functools.lru_cache(maxsize=4096)
def _percentiles(path: Path, stamp: tuple[int, int]) -> tuple[float, float]:
    del stamp
    voxels = _voxels(path)
    if not isinstance(voxels, np.ndarray):
        voxels = read_voxels(path, voxels)
    voxels = voxels.flat[:: max(voxels.size // _SAMPLED, 1)]  # reshape(-1) would copy all of it
    voxels = voxels[np.isfinite(voxels)]
    if not voxels.size:
        raise UserError(f"{path}: has no finite voxel")
    low, high = np.percentile(voxels, PERCENTILES)
    return float(low), float(high)


def _voxels(path: Path) -> Any:
    """The voxels of a volume: an array, or, of an uncompressed file, what reads parts of it."""
    if not _is_nifti(path):
        return load_header(path).dataobj
    image = load_header(path)
    if is_sliced(image, path):
        return image.dataobj
    return _kept.get((path, _stamp(path)), lambda: read_voxels(path, image.dataobj))


class _Kept:
    """The volumes that were read last: `KEPT` at most, and of `KEPT_BYTES` unless it is but two.

    Two, since the slices of an image and of its mask are read in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.volumes: dict[tuple, np.ndarray] = {}

    def get(self, key: tuple, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Returns the volume of a key, which `read` reads where it is not held."""
        with self._lock:
            voxels = self.volumes.pop(key, None)
            if voxels is not None:
                self.volumes[key] = voxels  # the last one used is the last to go
                return voxels
        voxels = read()
        with self._lock:
            self.volumes[key] = voxels
            while len(self.volumes) > KEPT or (len(self.volumes) > 2 and self._size() > KEPT_BYTES):
                del self.volumes[next(iter(self.volumes))]
        return voxels

    def _size(self) -> int:
        return sum(voxels.nbytes for voxels in self.volumes.values())


_kept = _Kept()


def is_volume(path: Path) -> bool:
    """Whether a path is a volume: NIfTI by its name, or DICOM (a file of it, a folder)."""
    return _is_nifti(path) or is_dicom(path)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = (path.parent if is_series(path) else path).stat()
    except OSError as error:
        raise UserError(f"{path}: no such file") from error
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise UserError(f"{path}: is neither a file nor a folder")  # a pipe would block for ever
    return status.st_mtime_ns, status.st_size


def load_header(path: Path) -> Any:
    """Opens a volume; reads its header alone of a NIfTI file, all of a DICOM series.

    Returns:
        A nibabel image.

    Raises:
        UserError: The file is missing, damaged or of other than three axes; or no nibabel.
    """
    try:
        import nibabel  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{path}: reading it needs nibabel: pip install 'fcnjax[medical]'"
        ) from error
    stamp = _stamp(path)
    return open_nifti(path) if _is_nifti(path) else load_dicom(path, stamp)
