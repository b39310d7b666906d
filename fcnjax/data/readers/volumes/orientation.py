"""Orientation of volumes: brings the axes of all volumes of a dataset to the same directions.

An orientation is three letters, as in nibabel: the first axis of `RAS` points to the right of the
patient, the second to the front (anterior) and the third to the head (superior). The others are L,
P and I. Axes are swapped and flipped, and no voxel is interpolated: for an oblique volume the
nearest axes count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcnjax.errors import UserError

_MIN_DETERMINANT = 1e-6  # of the axes' directions; 1 at right angles
MAX_OBLIQUE = 40.0  # degrees off the nearest axis; beyond, no axis is clearly the nearest


@dataclass(frozen=True)
class Reorientation:
    """The swaps and flips of axes that bring a volume to an orientation.

    Attributes:
        axes: The stored axis of each axis of the result.
        flips: Whether each axis of the result is flipped.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """Return a reoriented view of an array of three axes: writes go to the array."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return voxels.transpose(self.axes)[steps]

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Return the shape of the reoriented volume, from its shape as stored."""
        return tuple(int(shape[axis]) for axis in self.axes)

    def affine(self, affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return the affine `[4, 4]` of the reoriented volume, from that of the stored one."""
        from nibabel import orientations

        signs = [-1 if flip else 1 for flip in self.flips]
        stored_axes = np.stack([np.argsort(self.axes), np.take(signs, np.argsort(self.axes))], 1)
        return affine @ orientations.inv_ornt_aff(stored_axes, shape)

    def read_slice(self, voxels: Any, axis: int, position: int) -> np.ndarray:
        """Read a slice `[H, W]` of the reoriented volume, and nothing else.

        Args:
            voxels: The volume as stored: an array, or an object that reads parts of one.
            axis: Axis of the reoriented volume.
            position: Index along that axis.
        """
        stored = self.axes[axis]
        if self.flips[axis]:
            position = voxels.shape[stored] - 1 - position
        plane = np.asarray(voxels[(slice(None),) * stored + (position,)])
        return self.apply(np.expand_dims(plane, stored)).squeeze(axis)


def orientation_of(volume: Any, name: str) -> str | None:
    """Return the orientation of a volume as stored; None if its file does not state it.

    Args:
        volume: A nibabel image.
        name: The file, for errors.

    Raises:
        UserError: The affine is singular.
    """
    import nibabel

    if not (volume.header["sform_code"] or volume.header["qform_code"]):
        return None
    _refuse_singular(volume.affine, name)
    return "".join(nibabel.aff2axcodes(volume.affine))


def reorient_to(orientation: str | None, volume: Any, name: str) -> Reorientation:
    """Return the reorientation that brings a volume to an orientation.

    Args:
        orientation: The orientation, such as `RAS`; None: as stored.
        volume: A nibabel image. One whose file does not state an orientation stays as stored.
        name: The file, for errors.

    Raises:
        UserError: The volume needs a reorientation, and is too oblique for a clear nearest axis.
    """
    from nibabel import orientations

    stored = orientation_of(volume, name)
    if orientation is None or stored is None or stored == orientation:
        return Reorientation()
    if (degrees := oblique_degrees(volume.affine)) > MAX_OBLIQUE:
        raise UserError(
            f"{name}: lies obliquely, {degrees:.0f} degrees off the axes of the body, so that its "
            f"nearest orientation ({stored}) is not clear; it has to be {orientation}, by "
            "config.data.nifti.orientation"
        )
    transform = orientations.ornt_transform(
        orientations.axcodes2ornt(stored), orientations.axcodes2ornt(orientation)
    )
    axes = np.argsort(transform[:, 0])
    return Reorientation(
        tuple(int(axis) for axis in axes), tuple(bool(transform[axis, 1] < 0) for axis in axes)
    )


def oblique_degrees(affine: np.ndarray) -> float:
    """Return the largest angle between an axis of a volume and the nearest axis of the body.

    Args:
        affine: `[4, 4]`.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(0), 0, 1))).max())


def _refuse_singular(affine: np.ndarray, name: str) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    is_flat = not np.isfinite(affine).all() or not lengths.all()
    # nibabel has no letter for an axis without a direction of its own.
    if is_flat or abs(np.linalg.det(affine[:3, :3] / lengths)) < _MIN_DETERMINANT:
        raise UserError(
            f"{name}: its affine gives an axis no length, gives two axes the same direction, or "
            "holds values that are not finite numbers"
        )
