"""Test-time augmentation: rotated, mirrored and scaled views of an image, and their inverse."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from fcnjax.augment import to_unit
from fcnjax.errors import UserError
from fcnjax.models.layers import FeatureMap, resize_like

TRANSFORMS = ("hflip", "vflip", "rot90")  # valid values of --tta
SCALE_RANGE = (0.1, 10.0)


@dataclass(frozen=True)
class View:
    """A view of an image: rotated, then mirrored, then scaled.

    Attributes:
        turns: Counterclockwise rotation in right angles, 0 to 3.
        mirrored: Whether left and right are exchanged.
        scale: Scale factor of both sides.
    """

    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    def rotate_and_mirror(self, image: np.ndarray) -> np.ndarray:
        """Return the image `[H, W, C]` rotated and mirrored, at its own scale."""
        image = np.rot90(image, self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)

    def scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width after scaling."""
        return tuple(max(round(side * self.scale), 1) for side in size)


def make_views(
    transforms: Sequence[str] = (), scales: Sequence[float] = (1.0,)
) -> tuple[View, ...]:
    """Return all combinations of transforms and scales, the identity included.

    Args:
        transforms: Names from `TRANSFORMS`: `hflip` (left-right), `vflip` (top-bottom), `rot90`
            (all right angles). `rot90` and a flip together give eight views.
        scales: Scale factors.

    Raises:
        UserError: A transform is unknown, or a scale is out of range.
    """
    for transform in transforms:
        if transform not in TRANSFORMS:
            raise UserError(f"--tta: unknown {transform!r}; valid: {', '.join(TRANSFORMS)}")
    least, most = SCALE_RANGE
    for scale in scales:
        if not least <= scale <= most:
            raise UserError(f"--scales: {scale:g} is not between {least:g} and {most:g}")
    # Pairs of `turns` and `mirrored`. A top-bottom flip is a mirrored half turn.
    kinds = {(0, False)}
    if "hflip" in transforms:
        kinds |= {(0, True)}
    if "vflip" in transforms:
        kinds |= {((turns + 2) % 4, not mirrored) for turns, mirrored in kinds}
    if "rot90" in transforms:
        kinds = set(itertools.product(range(4), {mirrored for _, mirrored in kinds}))
    return tuple(View(*kind, scale) for scale in dict.fromkeys(scales) for kind in sorted(kinds))


@functools.partial(jax.jit, static_argnames="canvas")
def scale_images(
    image: jax.Array, extent: jax.Array, size: jax.Array, canvas: tuple[int, int]
) -> jax.Array:
    """Scale images `[B, H, W, C]`, as stored, to float32 images in 0..1 of another size.

    Args:
        image: The images.
        extent: int32 `[B, 2]`, true height and width of each image.
        size: int32 `[B, 2]`, height and width after scaling.
        canvas: Height and width of the returned array.
    """
    like = FeatureMap(jnp.zeros((len(image), *canvas, 1)), size)
    return resize_like(FeatureMap(to_unit(image), extent), like).data


@functools.partial(jax.jit, static_argnames=("view", "canvas", "flip_permutation"))
def invert_view(
    probabilities: jax.Array,
    extent: jax.Array,
    size: jax.Array,
    view: View,
    canvas: tuple[int, int],
    flip_permutation: tuple[int, ...] | None = None,
) -> jax.Array:
    """Map probabilities of a view back to the pixels of the original image.

    Args:
        probabilities: `[B, H, W, C]` of the view.
        extent: int32 `[B, 2]`, true height and width of each view.
        size: int32 `[B, 2]`, height and width of the original images.
        view: The view.
        canvas: Height and width of the returned array.
        flip_permutation: For each class, its class in a mirrored image. None: the same.

    Returns:
        `[B, *canvas, C]`, meaningless outside `size`.
    """
    if view.turns % 2:
        size, canvas = size[:, ::-1], canvas[::-1]
    x = probabilities
    if view.scale != 1:
        like = FeatureMap(jnp.zeros((len(x), *canvas, 1)), size)
        x = resize_like(FeatureMap(x, extent), like).data
    if view.mirrored:
        x = _flip(x, size, 2)
        if flip_permutation is not None:
            x = x[..., jnp.asarray(flip_permutation)]
    if view.turns == 2:
        x = _flip(_flip(x, size, 1), size, 2)
    elif view.turns:
        # A transpose and a flip are a rotation by a right angle.
        x, size = jnp.swapaxes(x, 1, 2), size[:, ::-1]
        x = _flip(x, size, 2 if view.turns == 1 else 1)
    return x


def _flip(x: jax.Array, size: jax.Array, axis: int) -> jax.Array:
    """Flip the valid region of each `[B, H, W, C]` along an axis."""
    position = jnp.arange(x.shape[axis])
    from_end = jnp.clip(size[:, axis - 1, None] - 1 - position, 0)
    index = from_end[:, :, None, None] if axis == 1 else from_end[:, None, :, None]
    return jnp.take_along_axis(x, index, axis)
