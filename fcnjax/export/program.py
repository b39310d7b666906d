"""The exported program: a pure function from stored images to masks and probabilities."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.pixel_type import PIXEL_TYPES
from fcnjax.errors import UserError, unknown
from fcnjax.models import FeatureMap, Platform, compile_for, make_fold_fn
from fcnjax.training.step import make_predict_step

# A program of any size pads images to multiples of this, which all strides of all models divide, so
# that the sizes of feature maps are simple symbolic terms. The extent excludes the padding.
MULTIPLE = 32

Program = Callable[..., dict[str, jax.Array]]


def choose_input_type(config: ConfigDict, requested: str | None) -> str:
    """Return the pixel type that a program takes: the model's own, or the requested one.

    Args:
        config: Config of the model.
        requested: `--input`, or None.

    Raises:
        UserError: The type is unknown, or has values that the model's type has not.
    """
    pixel_type = config.data.pixel_type
    if requested is None:
        return pixel_type or "uint8"
    if requested not in PIXEL_TYPES:
        raise unknown("--input", requested, PIXEL_TYPES)
    if requested == "uint16" and pixel_type == "uint8":
        raise UserError("--input: uint16 has values that the model's uint8 has not; valid: uint8")
    return requested


@dataclass(frozen=True)
class ExportSource:
    """A trained model to export.

    Attributes:
        config: The config.
        model: The module.
        variables: The inference variables.
        step: Training step of the variables.
        input_dtype: Type of the images that the program takes, from `PIXEL_TYPES`. Integers are
            taken by value. float32 images are in 0..1, unless the model's pixel type is float32.
        sizes: Height and width of the images for a format with fixed sizes, else empty.
        layout: Order of the axes of images and probabilities outside the program: `nhwc`, or
            `nchw` for a format that has it.
    """

    config: ConfigDict
    model: nn.Module
    variables: dict[str, Any]
    step: int
    input_dtype: str
    sizes: tuple[tuple[int, int], ...]
    layout: str = "nhwc"

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return len(channel_names(self.config.data.channels))


def make_program(source: ExportSource, platform: str) -> Program:
    """Return the pure function `program(image, extent=None, like=None)`.

    It is the predict step with the weights as constants and batch norm folded into them. It takes
    `image [B, H, W, C]` as stored and returns `mask [B, H, W]` int32 and
    `probabilities [B, H, W, classes]` float32. `like` is that of the predict step.

    Args:
        source: The model.
        platform: Name of the `Platform` to trace for.
    """
    platform = Platform(platform)
    step = make_predict_step(source.model, source.config)
    variables = make_fold_fn(source.model, platform)(source.variables)

    pixel_type = source.config.data.pixel_type

    @compile_for(platform)
    def program(
        image: jax.Array, extent: jax.Array | None = None, like: FeatureMap | None = None
    ) -> dict[str, jax.Array]:
        if pixel_type is not None and jnp.issubdtype(image.dtype, jnp.integer):
            image = image.astype(pixel_type)  # by value; the step scales by the model's type
        return step(variables, image, extent, None, like)

    return program


def with_symbolic_sizes(program: Program) -> Program:
    """Return the program for images of symbolic height and width, each at least 1."""

    def padded(image: jax.Array, extent: jax.Array | None = None) -> dict[str, jax.Array]:
        batch, height, width, _ = image.shape
        if extent is None:
            sides = jnp.stack([jnp.asarray(side, jnp.int32) for side in (height, width)])
            extent = jnp.broadcast_to(sides, (batch, 2))
        pads = [(0, -(-side // MULTIPLE) * MULTIPLE - side) for side in (height, width)]
        out = program(jnp.pad(image, ((0, 0), *pads, (0, 0))), extent)
        # A slice, which indexing by symbols is not.
        return {
            name: lax.slice(value, (0,) * value.ndim, (batch, height, width, *value.shape[3:]))
            for name, value in out.items()
        }

    return padded


@contextlib.contextmanager
def without_source_paths() -> Iterator[None]:
    """Omit the paths of Python files from programs that are lowered in the block.

    By default, every operation of a program has a traceback with the paths of this machine.
    """
    option = "jax_traceback_in_locations_limit"
    previous = jax.config.values[option]
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, previous)
