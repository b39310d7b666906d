"""Views of an image for test-time augmentation: turned, mirrored and scaled, and back again."""

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

# What `--tta` names: the turns and mirrorings that it adds.
MOVES = ("hflip", "vflip", "rot90")
SCALES = (0.1, 10.0)  # the least and the greatest


@dataclass(frozen=True)
class View:
    """How an image is seen: turned, then mirrored, then scaled.

    Attributes:
        turns: Right angles, counterclockwise, 0 to 3.
        mirrored: Left and right exchanged.
        scale: Of both sides.
    """

    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    def of(self, image: np.ndarray) -> np.ndarray:
        """The image `[H, W, C]`, turned and mirrored."""
        image = np.rot90(image, self.turns)
        return np.ascontiguousarray(image[:, ::-1] if self.mirrored else image)

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """The height and width that this size gets."""
        return tuple(max(round(side * self.scale), 1) for side in size)


def make_views(moves: Sequence[str] = (), scales: Sequence[float] = (1.0,)) -> tuple[View, ...]:
    """All views that moves and scales make together, the plain one among them.

    Args:
        moves: Of `MOVES`: `hflip` (left and right exchanged), `vflip` (top and bottom), `rot90`
            (all right angles); with a flip, `rot90` makes eight.
        scales: Of the sides.

    Raises:
        UserError: An unknown move, or a scale out of range; names `--tta` or `--scales`.
    """
    for move in moves:
        if move not in MOVES:
            raise UserError(f"--tta: unknown {move!r}; valid: {', '.join(MOVES)}")
    least, most = SCALES
    for scale in scales:
        if not least <= scale <= most:
            raise UserError(f"--scales: {scale:g} is not between {least:g} and {most:g}")
    # A mirrored image turned by half is one with top and bottom exchanged.
    kinds = {(0, False)}
    if "hflip" in moves:
        kinds |= {(0, True)}
    if "vflip" in moves:
        kinds |= {((turns + 2) % 4, not mirrored) for turns, mirrored in kinds}
    if "rot90" in moves:
        kinds = set(itertools.product(range(4), {mirrored for _, mirrored in kinds}))
    return tuple(View(*kind, scale) for scale in dict.fromkeys(scales) for kind in sorted(kinds))


@functools.partial(jax.jit, static_argnames="canvas")
def enlarge(
    image: jax.Array, extent: jax.Array, wanted: jax.Array, canvas: tuple[int, int]
) -> jax.Array:
    """Scales images `[B, H, W, C]` as stored within their extents; float32 in 0..1.

    Args:
        image: The images.
        extent: int32 `[B, 2]`, what of each is true.
        wanted: int32 `[B, 2]`, the height and width that this is brought to.
        canvas: Height and width of the result.
    """
    like = FeatureMap(jnp.zeros((len(image), *canvas, 1)), wanted)
    return resize_like(FeatureMap(to_unit(image), extent), like).data


@functools.partial(jax.jit, static_argnames=("view", "canvas", "flip_permutation"))
def undo(
    probabilities: jax.Array,
    extent: jax.Array,
    size: jax.Array,
    view: View,
    canvas: tuple[int, int],
    flip_permutation: tuple[int, ...] | None = None,
) -> jax.Array:
    """What was found in a view, brought back to where it is in the image.

    Args:
        probabilities: `[B, H, W, C]` of the view.
        extent: int32 `[B, 2]`, what of each is true.
        size: int32 `[B, 2]`, the images' own height and width.
        view: The view.
        canvas: Height and width of the result.
        flip_permutation: What each class is in a mirrored image; None: all stay what they are.

    Returns:
        `[B, *canvas, C]`; what lies outside `size` means nothing.
    """
    if view.turns % 2:
        size, canvas = size[:, ::-1], canvas[::-1]
    x = probabilities
    if view.scale != 1:
        like = FeatureMap(jnp.zeros((len(x), *canvas, 1)), size)
        x = resize_like(FeatureMap(x, extent), like).data
    if view.mirrored:
        x = _reversed(x, size, 2)
        if flip_permutation is not None:
            x = x[..., jnp.asarray(flip_permutation)]
    if view.turns == 2:
        x = _reversed(_reversed(x, size, 1), size, 2)
    elif view.turns:
        # Turned by a right angle the other way: rows become columns, and one of them is reversed.
        x, size = jnp.swapaxes(x, 1, 2), size[:, ::-1]
        x = _reversed(x, size, 2 if view.turns == 1 else 1)
    return x


def _reversed(x: jax.Array, size: jax.Array, axis: int) -> jax.Array:
    """Reverses the true part of each `[B, H, W, C]` along an axis."""
    place = jnp.arange(x.shape[axis])
    from_end = jnp.clip(size[:, axis - 1, None] - 1 - place, 0)
    index = from_end[:, :, None, None] if axis == 1 else from_end[:, None, :, None]
    return jnp.take_along_axis(x, index, axis)
