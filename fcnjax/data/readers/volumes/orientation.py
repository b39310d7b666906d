"""Orientation of volumes: the axes of every volume of a set are brought to the same directions.

An orientation is three letters, as nibabel writes it: `RAS` has its first axis towards the right of
the patient, its second towards the front (anterior) and its third towards the head (superior). The
others are L, P and I. Axes are exchanged and reversed, and no voxel is interpolated: of a volume
that lies obliquely the nearest axes count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcnjax.errors import UserError

_OPPOSITES = ("RL", "AP", "SI")
_LEAST_VOLUME = 1e-6  # of the parallelepiped of the axes' directions; 1 at right angles
MOST_OBLIQUE = 40.0  # degrees off the nearest axis, above which no axis is clearly the nearest


@dataclass(frozen=True)
class Turn:
    """The exchange and reversal of axes that brings a volume to an orientation.

    Attributes:
        axes: By axis of the result, that of the volume as it is stored.
        reversed: By axis of the result, whether it runs the other way.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    reversed: tuple[bool, bool, bool] = (False, False, False)

    def of(self, voxels: np.ndarray) -> np.ndarray:
        """A view of an array of three axes, turned: what is written to it goes to the array."""
        steps = tuple(slice(None, None, -1 if turned else 1) for turned in self.reversed)
        return voxels.transpose(self.axes)[steps]

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """The shape of a turned volume, from that of the volume as it is stored."""
        return tuple(int(shape[axis]) for axis in self.axes)

    def affine(self, affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The affine `[4, 4]` of a turned volume, from that of the volume as it is stored."""
        of_turned = np.zeros((4, 4))
        of_turned[3, 3] = 1
        for turned, (axis, is_reversed) in enumerate(zip(self.axes, self.reversed, strict=True)):
            of_turned[axis, turned] = -1 if is_reversed else 1
            of_turned[axis, 3] = shape[axis] - 1 if is_reversed else 0
        return affine @ of_turned

    def read_slice(self, voxels: Any, axis: int, position: int) -> np.ndarray:
        """A slice `[H, W]` of the turned volume; nothing else of it is read.

        Args:
            voxels: The volume as it is stored: an array, or what reads parts of one.
            axis: Of the turned volume.
            position: Along that.
        """
        stored = self.axes[axis]
        if self.reversed[axis]:
            position = voxels.shape[stored] - 1 - position
        part = np.asarray(voxels[(slice(None),) * stored + (position,)])
        first, second = (other for other in range(3) if other != axis)
        if self.axes[first] > self.axes[second]:
            part = part.T
        steps = (slice(None, None, -1 if self.reversed[other] else 1) for other in (first, second))
        return part[tuple(steps)]


def orientation_of(volume: Any, name: str) -> str | None:
    """The orientation of a volume as it is stored; None where its file does not say.

    Args:
        volume: A nibabel image.
        name: The file, for errors.

    Raises:
        UserError: Its affine is of no volume.
    """
    import nibabel

    if not (volume.header["sform_code"] or volume.header["qform_code"]):
        return None
    _refuse_flat(volume.affine, name)
    return "".join(nibabel.aff2axcodes(volume.affine))


def turn_to(orientation: str | None, volume: Any, name: str) -> Turn:
    """The turn that brings a volume to an orientation.

    Args:
        orientation: Such as `RAS`; None: as it is stored.
        volume: A nibabel image. One whose file does not say where it lies is not turned.
        name: The file, for errors.

    Raises:
        UserError: It has to be turned, and lies too obliquely for its nearest axes to be clear.
    """
    from nibabel import orientations

    own = orientation_of(volume, name)
    if orientation is None or own is None or own == orientation:
        return Turn()
    if (degrees := oblique_by(volume.affine)) > MOST_OBLIQUE:
        raise UserError(
            f"{name}: lies obliquely, {degrees:.0f} degrees off the axes of the body, so that its "
            f"nearest orientation ({own}) is not clear; it has to be {orientation}, by "
            "config.data.nifti.orientation"
        )
    turn = orientations.ornt_transform(
        orientations.axcodes2ornt(own), orientations.axcodes2ornt(orientation)
    )
    stored = np.argsort(turn[:, 0])
    return Turn(
        tuple(int(axis) for axis in stored), tuple(bool(turn[axis, 1] < 0) for axis in stored)
    )


def oblique_by(affine: np.ndarray) -> float:
    """The greatest angle in degrees between an axis of a volume and the axis of the body nearest.

    Args:
        affine: `[4, 4]`.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(0), 0, 1))).max())


def _refuse_flat(affine: np.ndarray, name: str) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    is_flat = not np.isfinite(affine).all() or not lengths.all()
    # nibabel has no letter for an axis without a direction of its own.
    if is_flat or abs(np.linalg.det(affine[:3, :3] / lengths)) < _LEAST_VOLUME:
        raise UserError(
            f"{name}: its affine gives an axis no length or two the same direction, or is not of "
            "numbers"
        )
