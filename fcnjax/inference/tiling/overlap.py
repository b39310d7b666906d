"""How large tiles are and how far they overlap, by the model's receptive field and the memory."""

import math
from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import bucket_canvas
from fcnjax.errors import UserError
from fcnjax.inference.tiling.tiles import Axis, plan_axis
from fcnjax.inspection.tracing.receptive_field import receptive_fields
from fcnjax.models import Segmenter, build_model

TILE = 1024  # pixels a side, where none is given
LEAST = 256  # pixels a side, below which the rows that are held do not make it smaller
FRACTION = 1 / 4  # of a tile, where the receptive field gives no overlap
MOST = 1 / 2  # of a tile, that the receptive field may ask for
HELD_BYTES = 2**30  # of rows that are held


@dataclass(frozen=True)
class Reach:
    """How far a pixel's class depends on others.

    Attributes:
        pixels: To either side, at most; None: on the whole image, or it cannot be told.
        stride: Of the deepest feature.
    """

    pixels: int | None
    stride: int


@dataclass(frozen=True)
class TilePlan:
    """The tiles of an image.

    Attributes:
        rows: Along the height.
        columns: Along the width.
        blend: In `BLENDS`.
        words: Their sizes and the reason of the overlap, for the user.
    """

    rows: Axis
    columns: Axis
    blend: str
    words: str

    @property
    def count(self) -> int:
        """How many tiles."""
        return len(self.rows.starts) * len(self.columns.starts)


def reach_of(config: ConfigDict, scale: float = 1.0) -> Reach:
    """How far the pixels of a model's image reach, by its trace; computes nothing.

    Args:
        config: The model's, resolved.
        scale: That the image is brought to before the model sees it.
    """
    model = build_model(config)
    stride = max(model.encoder.strides)
    shape = (1, *(math.lcm(64, stride),) * 2, model.in_channels)
    try:
        fields = [receptive_fields(model, _logits, shape, axis)[0] for axis in (1, 2)]
    except NotImplementedError:
        return Reach(None, stride)
    if any(field.whole for field in fields):
        return Reach(None, stride)
    # It is that of one pixel; another's may lie by a stride otherwise.
    pixels = max(max(-field.before, field.after) for field in fields) + stride
    return Reach(math.ceil(pixels / scale), stride)


def _logits(model: Segmenter, image: jax.Array) -> jax.Array:
    return model(image)["logits"]


def joined(reaches: list[Reach]) -> Reach:
    """The reach of several models together."""
    pixels = [reach.pixels for reach in reaches]
    stride = math.lcm(*(reach.stride for reach in reaches))
    return Reach(None if None in pixels else max(pixels), stride)


def plan_tiles(
    size: tuple[int, int],
    reach: Reach,
    classes: int,
    bucket: int,
    *,
    tile: tuple[int, int] | None = None,
    overlap: int | None = None,
    blend: str = "gaussian",
) -> TilePlan:
    """Plans the tiles of an image.

    Args:
        size: Height and width of the image.
        reach: The model's.
        classes: How many it has.
        bucket: The model's, `config.eval.bucket`.
        tile: Height and width of a tile; None: `TILE`, and less high where an image is so wide that
            the rows held would take more than `HELD_BYTES`.
        overlap: Pixels; None: twice the reach, or where that is more than `MOST` of a tile, or the
            model sees the whole image, `FRACTION` of it.
        blend: In `BLENDS`.

    Raises:
        UserError: A tile is no larger than its overlap and a stride.
    """
    if tile is None:
        tile = (_height(size[1], classes), TILE)
    # An image that one tile holds is padded as any other.
    tile = tuple(
        min(side, own) for side, own in zip(tile, bucket_canvas(size, bucket), strict=True)
    )
    # Of the axes that have several tiles.
    sides = [side for side, length in zip(tile, size, strict=True) if length > side]
    shared, margin, reason = _overlap(sides, reach, overlap)
    rows, columns = (
        plan_axis(
            length, side, round(side * FRACTION) if shared is None else shared, reach.stride, margin
        )
        for length, side in zip(size, tile, strict=True)
    )
    words = f"{len(rows.starts)} x {len(columns.starts)} tiles of {tile[1]}x{tile[0]}"
    if sides:
        most = max(rows.overlap, columns.overlap)
        words += f" that overlap by {most} ({reason}), {blend} weights"
    return TilePlan(rows, columns, blend, words)


def _height(width: int, classes: int) -> int:
    height = TILE
    while height > LEAST and height * width * (classes + 1) * 4 > HELD_BYTES:
        height //= 2
    return height


def _overlap(sides: list[int], reach: Reach, given: int | None) -> tuple[int | None, int, str]:
    """The overlap of tiles of these sides (None: `FRACTION` of each), the margin, the reason."""
    exact = None if reach.pixels is None else 2 * reach.pixels
    if given is not None:
        fits = exact is not None and exact <= given
        known = "sees the whole image" if exact is None else f"asks for {exact} to change nothing"
        reason = f"--overlap; the model {known}"
        return given, reach.pixels if fits else 0, reason
    if exact is None:
        return None, 0, "a quarter of a tile: the model sees the whole image"
    if all(exact <= side * MOST for side in sides):
        return exact, reach.pixels, "by the receptive field: as without tiles"
    reason = f"a quarter of a tile: the receptive field, {exact} pixels, is more than half of one"
    return None, 0, reason


def parse_tile(text: str) -> tuple[int, int]:
    """The height and width that `--tile=HxW` names.

    Raises:
        UserError: It names none, or one below 16 pixels.
    """
    parts = text.lower().split("x")
    if len(parts) == 2 and all(p.isascii() and p.isdecimal() and int(p) >= 16 for p in parts):
        return int(parts[0]), int(parts[1])
    raise UserError(f"--tile: {text!r} is not HEIGHTxWIDTH of 16 pixels or more, as 512x512")
