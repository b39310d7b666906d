"""What is exported: one pure function from images as stored to masks and probabilities."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.pixel_type import PIXEL_TYPES
from fcnjax.errors import UserError, unknown
from fcnjax.models import Platform, compile_for, make_fold_fn
from fcnjax.training.step import make_predict_step

# Sides are rounded up to a multiple of this inside a program of any size: of every model's strides,
# so that the sizes of its maps are simple terms. What is added is outside the extent.
MULTIPLE = 32

Program = Callable[..., dict[str, jax.Array]]


def input_type(config: ConfigDict, requested: str | None) -> str:
    """The pixel type that a program takes: the model's own, or another that suits it.

    Args:
        config: Of the model.
        requested: `--input`, or None.

    Raises:
        UserError: It is no pixel type, or holds values that the model's has not.
    """
    own = config.data.pixel_type
    if requested is None:
        return own or "uint8"
    if requested not in PIXEL_TYPES:
        raise unknown("--input", requested, PIXEL_TYPES)
    if requested == "uint16" and own == "uint8":
        raise UserError("--input: uint16 has values that the model's uint8 has not; valid: uint8")
    return requested


@dataclass(frozen=True)
class Source:
    """A trained model that is exported.

    Attributes:
        config: Its config.
        model: Its module.
        variables: Its inference variables.
        step: The training step that they are of.
        input_dtype: Of the images that the program takes, one of `PIXEL_TYPES`. Integers are taken
            by value; float32 ones lie in 0..1, unless the model's own pixel type is float32.
        sizes: Height and width of the images, where a format has fixed ones; else empty.
    """

    config: ConfigDict
    model: nn.Module
    variables: dict[str, Any]
    step: int
    input_dtype: str
    sizes: tuple[tuple[int, int], ...]

    @property
    def channels(self) -> int:
        """Of an image."""
        return len(channel_names(self.config.data.channels))


def make_program(source: Source, platform: str) -> Program:
    """The pure `program(image, extent=None)`, its weights constants with batch norm in them.

    It is `predict_step` (`steps.py`): takes `image [B, H, W, C]` as stored and returns
    `mask [B, H, W]` int32 and `probabilities [B, H, W, classes]` float32.

    Args:
        source: The model.
        platform: As `Platform` has it: for what it is traced.
    """
    platform = Platform(platform)
    step = make_predict_step(source.model, source.config)
    variables = make_fold_fn(source.model, platform)(source.variables)

    pixel_type = source.config.data.pixel_type

    @compile_for(platform)
    def program(image: jax.Array, extent: jax.Array | None = None) -> dict[str, jax.Array]:
        if pixel_type is not None and jnp.issubdtype(image.dtype, jnp.integer):
            image = image.astype(pixel_type)  # by value: the scale is that of the model's type
        return step(variables, image, extent)

    return program


def of_any_size(program: Program) -> Program:
    """The same program for images whose height and width are symbols, each 1 or more."""

    def padded(image: jax.Array, extent: jax.Array | None = None) -> dict[str, jax.Array]:
        batch, height, width, _ = image.shape
        if extent is None:
            sides = jnp.stack([jnp.asarray(side, jnp.int32) for side in (height, width)])
            extent = jnp.broadcast_to(sides, (batch, 2))
        pads = [(0, -(-side // MULTIPLE) * MULTIPLE - side) for side in (height, width)]
        out = program(jnp.pad(image, ((0, 0), *pads, (0, 0))), extent)
        return {name: value[:, :height, :width] for name, value in out.items()}

    return padded


@contextlib.contextmanager
def without_source_paths() -> Iterator[None]:
    """Leaves the paths of source files out of the programs that are lowered in the block.

    Without it each operation of a program names the lines of Python that made it, by the paths of
    this machine.
    """
    option = "jax_traceback_in_locations_limit"
    before = jax.config.values[option]
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)
