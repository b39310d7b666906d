"""Size and overlap of tiles, from the model's receptive field and the memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import bucket_canvas
from fcnjax.inference.tiling.blend import Axis, plan_axis
from fcnjax.inference.tiling.options import DEFAULT_TILE
from fcnjax.inspection.tracing.receptive_field import receptive_fields
from fcnjax.models import Segmenter, build_model

MIN_TILE_HEIGHT = 256  # to which the height is reduced for wide images
DEFAULT_OVERLAP = 1 / 4  # of a tile, if the receptive field is too large
MAX_OVERLAP = 1 / 2  # of a tile, for an overlap from the receptive field
MAX_BUFFER_BYTES = 2**30  # of the buffered rows


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of a model.

    Attributes:
        radius: Pixels to either side, at most. None: the whole image, or unknown.
        stride: Stride of the deepest feature map.
    """

    radius: int | None
    stride: int


@dataclass(frozen=True)
class TilePlan:
    """The tiles of an image.

    Attributes:
        rows: Tiles along the height.
        columns: Tiles along the width.
        blend: Key of `BLENDS`.
        description: Number, size and overlap of the tiles, for the user.
    """

    rows: Axis
    columns: Axis
    blend: str
    description: str

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)


def measure_receptive_field(config: ConfigDict, scale: float = 1.0) -> ReceptiveField:
    """Return the receptive field of a model in pixels of the image, from an abstract trace.

    Args:
        config: Resolved config of the model.
        scale: Scale factor of the image before the model.
    """
    model = build_model(config)
    stride = max(model.encoder.strides)
    shape = (1, *(math.lcm(64, stride),) * 2, model.in_channels)
    try:
        fields = [receptive_fields(model, _logits, shape, axis)[0] for axis in (1, 2)]
    except NotImplementedError:
        return ReceptiveField(None, stride)
    if any(field.global_modules for field in fields):
        return ReceptiveField(None, stride)
    # The field of one pixel was traced. That of another may be shifted by up to a stride.
    radius = max(max(-field.before, field.after) for field in fields) + stride
    return ReceptiveField(math.ceil(radius / scale), stride)


def _logits(model: Segmenter, image: jax.Array) -> jax.Array:
    return model(image)["logits"]


def joint_receptive_field(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """Return the receptive field of several models together."""
    radii = [field.radius for field in fields]
    stride = math.lcm(*(field.stride for field in fields))
    return ReceptiveField(None if None in radii else max(radii), stride)


def plan_tiles(
    size: tuple[int, int],
    field: ReceptiveField,
    classes: int,
    bucket: int,
    *,
    tile: tuple[int, int] | None = None,
    overlap: int | None = None,
    blend: str = "gaussian",
) -> TilePlan:
    """Plan the tiles of an image.

    Args:
        size: Height and width of the image.
        field: Receptive field of the model.
        classes: Number of classes.
        bucket: `config.eval.bucket` of the model.
        tile: Height and width of a tile. None: `DEFAULT_TILE`, with a smaller height for an image
            so wide that the buffered rows would exceed `MAX_BUFFER_BYTES`.
        overlap: Overlap in pixels. None: twice the radius of the receptive field, or
            `DEFAULT_OVERLAP` if that exceeds `MAX_OVERLAP` or the model sees the whole image.
        blend: Key of `BLENDS`.

    Raises:
        UserError: A tile is too small for the overlap and a stride.
    """
    if tile is None:
        tile = (_tile_height(size[1], classes), DEFAULT_TILE)
    # An image smaller than a tile is padded to a bucket, as without tiles.
    tile = tuple(
        min(side, padded) for side, padded in zip(tile, bucket_canvas(size, bucket), strict=True)
    )
    # Sides of the tiles along axes with more than one tile.
    sides = [side for side, length in zip(tile, size, strict=True) if length > side]
    pixels, margin, reason = _choose_overlap(sides, field, overlap)
    rows, columns = (
        plan_axis(
            length,
            side,
            round(side * DEFAULT_OVERLAP) if pixels is None else pixels,
            field.stride,
            margin,
        )
        for length, side in zip(size, tile, strict=True)
    )
    description = f"{len(rows.starts)} x {len(columns.starts)} tiles of {tile[1]}x{tile[0]}"
    if sides:
        widest = max(rows.overlap, columns.overlap)
        description += f" that overlap by {widest} ({reason}), {blend} weights"
    return TilePlan(rows, columns, blend, description)


def _tile_height(width: int, classes: int) -> int:
    height = DEFAULT_TILE
    while height > MIN_TILE_HEIGHT and height * width * (classes + 1) * 4 > MAX_BUFFER_BYTES:
        height //= 2
    return height


def _choose_overlap(
    sides: list[int], field: ReceptiveField, requested: int | None
) -> tuple[int | None, int, str]:
    """Return the overlap (None: `DEFAULT_OVERLAP` of each side), the margin and the reason."""
    exact = None if field.radius is None else 2 * field.radius
    if requested is not None:
        suffices = exact is not None and exact <= requested
        need = "sees the whole image" if exact is None else f"asks for {exact} to change nothing"
        return requested, field.radius if suffices else 0, f"--overlap; the model {need}"
    if exact is None:
        return None, 0, "a quarter of a tile: the model sees the whole image"
    if all(exact <= side * MAX_OVERLAP for side in sides):
        return exact, field.radius, "by the receptive field: as without tiles"
    reason = f"a quarter of a tile: the receptive field, {exact} pixels, is more than half of one"
    return None, 0, reason
