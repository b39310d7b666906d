"""Reading of volumes stored as NIfTI or, for prediction, as DICOM: whole or slice by slice.

An uncompressed `.nii` is read slice by slice. A `.nii.gz` has to be read whole, and the last few
are cached: larger datasets are read faster in random order once they are decompressed. A DICOM
series is read whole, and the last one is cached.
"""

import functools
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.readers.conversion import to_integers
from fcnjax.data.readers.errors import decode_errors, require_package
from fcnjax.data.readers.volumes.dicom_volume import is_dicom, is_series, load_dicom
from fcnjax.data.readers.volumes.nifti_file import is_sliced, open_nifti, read_voxels
from fcnjax.data.readers.volumes.orientation import Reorientation, reorient_to
from fcnjax.errors import UserError

SUFFIXES = (".nii.gz", ".nii")
CACHED = 6  # volumes, images and masks alike, that a process keeps
CACHED_BYTES = 2**31  # limit on their size, if they are more than two
PERCENTILES = (0.5, 99.5)
_SAMPLED = 2**23  # approximate number of voxels for percentiles


def scale_intensities(
    values: np.ndarray, low: float, high: float, pixel_type: str = "uint16"
) -> np.ndarray:
    """Scale intensities from `low`..`high` to the range of the type, clipped; NaN becomes 0."""
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite and the largest values
        scaled = (values.astype(np.float32) - low) / (high - low if high > low else 1)
    most = np.iinfo(pixel_type).max
    return np.round(np.clip(np.nan_to_num(scaled), 0, 1) * most).astype(pixel_type)


class SliceReader:
    """Reader of slices of volumes as images, for training and prediction.

    Args:
        data: `config.data`.

    Attributes:
        axis: Axis of the reoriented volume along which slices are taken.

    Raises:
        UserError: `channels` or `pixel_type` is invalid for volumes.
    """

    def __init__(self, data: ConfigDict):
        self.axis = data.nifti.axis
        self._orientation = data.nifti.orientation
        # An intensity window is scaled to an integer type: both types have the same meaning.
        self._pixel_type = data.pixel_type or "uint16"
        if self._pixel_type not in ("uint8", "uint16"):
            raise UserError(
                f"config.data.pixel_type: slices of volumes are uint8 or uint16, not "
                f"{self._pixel_type}: config.data.nifti.intensity is scaled to the range of the "
                "type"
            )
        self._window = tuple(data.nifti.intensity)
        if data.channels not in ("L", "RGB"):
            raise UserError(
                f"config.data.channels: {data.channels!r}: volumes have L (grey), or RGB (grey "
                "three times)"
            )
        self._channels = len(data.channels)

    def reorientation(self, path: Path) -> Reorientation:
        """Return the reorientation of a volume to `config.data.nifti.orientation`.

        Raises:
            UserError: As `open_volume` and `reorient_to`.
        """
        return _reorientation(path, _stamp(path), self._orientation)

    def stored(self, path: Path, position: int) -> np.ndarray:
        """Read a slice `[H, W]` of the reoriented volume, its scale applied.

        Raises:
            UserError: As `read_slice` and `reorientation`.
        """
        return read_slice(path, self.axis, position, self.reorientation(path))

    def labels(self, path: Path, position: int) -> np.ndarray:
        """Read a slice `[H, W]` of the integers in a reoriented mask.

        Raises:
            UserError: As `stored`; or the values are not integers.
        """
        return to_integers(self.stored(path, position), path, step=_slope(path, _stamp(path)))

    def image(self, path: Path, position: int) -> np.ndarray:
        """Read a slice as an image `[H, W, C]` uint16, or uint8 for a model of that type.

        Raises:
            UserError: As `stored` and `percentiles`.
        """
        low, high = self._window or percentiles(path)
        pixels = scale_intensities(self.stored(path, position), low, high, self._pixel_type)
        return np.repeat(pixels[..., None], self._channels, -1)


@functools.lru_cache(maxsize=4096)
def _reorientation(path: Path, stamp: tuple[int, int], orientation: str | None) -> Reorientation:
    del stamp  # part of the cache key: a file that was written again differs
    return reorient_to(orientation, open_volume(path), str(path))


def read_slice(
    path: Path, axis: int, position: int, reorientation: Reorientation | None = None
) -> np.ndarray:
    """Read a slice `[H, W]` of a volume, its scale applied.

    Args:
        path: The volume.
        axis: Axis of the reoriented volume.
        position: Index along that axis.
        reorientation: Applied to the volume; None: none.

    Raises:
        UserError: The file is missing or damaged, or nibabel is not installed.
    """
    reorientation, voxels = reorientation or Reorientation(), _voxels(path)
    if isinstance(voxels, np.ndarray):
        return reorientation.read_slice(voxels, axis, position)
    with decode_errors(path, "NIfTI"):
        return reorientation.read_slice(voxels, axis, position)


def label_values(path: Path) -> list[int]:
    """Return the sorted integers that a mask stores.

    Raises:
        UserError: As `read_slice`; or the values are not integers.
    """
    values: set[int] = set()
    step = _slope(path, _stamp(path))
    for position in range(_voxels(path).shape[2]):  # converting all at once takes much memory
        labels = to_integers(read_slice(path, 2, position), path, step=step)
        values.update(np.unique(labels).tolist())
    return sorted(values)


@functools.lru_cache(maxsize=1024)
def _slope(path: Path, stamp: tuple[int, int]) -> float:
    """Return the scale factor of a volume, the step between stored values; 0 without one."""
    del stamp
    return abs(float(getattr(open_volume(path).dataobj, "slope", 0.0)))


def percentiles(path: Path) -> tuple[float, float]:
    """Return the intensities at `PERCENTILES` of the finite voxels of a volume.

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
    """Return the voxels: an array, or for an uncompressed file an object that reads parts."""
    image = open_volume(path)
    if not _is_nifti(path) or is_sliced(image, path):
        return image.dataobj
    return _cache.get((path, _stamp(path)), lambda: read_voxels(path, image.dataobj))


class _VolumeCache:
    """The volumes read last: at most `CACHED`, and at most `CACHED_BYTES` if more than two.

    Two are always kept, since slices of an image and of its mask are read in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.volumes: dict[tuple, np.ndarray] = {}

    def get(self, key: tuple, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the volume of a key, reading it if it is not cached."""
        with self._lock:
            voxels = self.volumes.pop(key, None)
            if voxels is not None:
                self.volumes[key] = voxels  # the last one used is removed last
                return voxels
        voxels = read()
        with self._lock:
            self.volumes[key] = voxels
            while len(self.volumes) > CACHED or self._is_too_large():
                del self.volumes[next(iter(self.volumes))]
        return voxels

    def _is_too_large(self) -> bool:
        size = sum(voxels.nbytes for voxels in self.volumes.values())
        return len(self.volumes) > 2 and size > CACHED_BYTES


_cache = _VolumeCache()


def is_volume(path: Path) -> bool:
    """Return whether a path is a volume: NIfTI by its suffix, or a DICOM file or folder."""
    return _is_nifti(path) or is_dicom(path)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def _stamp(path: Path) -> tuple[int, int]:
    """Return the time and size of a volume's file or folder, as part of a cache key."""
    try:
        status = (path.parent if is_series(path) else path).stat()
    except OSError as error:
        raise UserError(f"{path}: no such file") from error
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise UserError(f"{path}: is neither a file nor a folder")  # a pipe would block forever
    return status.st_mtime_ns, status.st_size


def open_volume(path: Path) -> Any:
    """Open a volume: reads only the header of a NIfTI file, but all of a DICOM series.

    Returns:
        A nibabel image.

    Raises:
        UserError: The file is missing, damaged or not of three axes; or nibabel is missing.
    """
    require_package(path, "nibabel", "medical")
    stamp = _stamp(path)
    return open_nifti(path) if _is_nifti(path) else load_dicom(path, stamp)
