"""A model that `fcnjax export` wrote, called as one of a workdir is.

A program is code: it may hold any operation that the device runs. Its hash finds damage, and does
not say who wrote it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from fcnjax.augment import to_unit
from fcnjax.data.pixel_type import PIXEL_TYPES
from fcnjax.errors import UserError
from fcnjax.inference.identity import PROGRAM_FILE, check_exported
from fcnjax.inference.inputs.fetch import unreadable
from fcnjax.inference.model import Model
from fcnjax.io.atomic_files import sha256
from fcnjax.training.workdir import load_saved_config, without_places

_IMAGES = [(4, pixel_type) for pixel_type in PIXEL_TYPES]


def load_exported(
    folder: Path, told: dict[str, Any], step: str | int = "best", dtype: str | None = None
) -> Model:
    """Loads what `fcnjax export --format=stablehlo` wrote.

    Args:
        folder: The folder, as `find_exported` gives it.
        told: What its config.json says, as well.
        step: `best`, `latest`, or the step that it was exported from.
        dtype: None, or the type of computation that it was exported with.

    Raises:
        UserError: It is damaged, was exported for another runtime, or is of another step or type.
    """
    check_exported(folder, told, dtype)
    if step not in ("best", "latest", told["step"]):
        raise UserError(f"--step: {folder} holds step {told['step']} alone")
    file, config = folder / PROGRAM_FILE, without_places(load_saved_config(folder))
    if not file.is_file() or sha256(file) != told["sha256"].get(PROGRAM_FILE):
        raise UserError(f"{file}: is missing or damaged; export the model again")
    program = _read_program(file)
    if (taken := program.in_avals[0].dtype) != np.float32:
        # What it takes decides; the model in it may be of a wider type.
        config.data.pixel_type = str(taken)
    return Model(config, _predict_step(program), {}, told["step"])


def _read_program(file: Path) -> export.Exported:
    """Reads a program of `image [B, H, W, C]` and `extent [B, 2]`.

    Raises:
        UserError: It is no program that this version of JAX reads, or it takes something else.
    """
    try:
        program = export.deserialize(bytearray(file.read_bytes()))
        taken = [(len(aval.shape), str(aval.dtype)) for aval in program.in_avals]
    except Exception as error:  # JAX checks nothing: errors of flatbuffers, MLIR and Python
        raise unreadable(file, error) from error
    if len(taken) != 2 or taken[0] not in _IMAGES or taken[1] != (2, "int32"):
        raise UserError(f"{file}: is no program of images and their extents; export it again")
    return program


def _predict_step(program: export.Exported) -> Callable[..., dict[str, jax.Array]]:
    """The program as `make_predict_step` has it; raises UserError for pixels it does not take."""
    wanted = program.in_avals[0].dtype

    def predict_step(
        _: Any,
        image: jax.Array,
        extent: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        if key is not None:
            raise UserError("--dropout-samples: an exported program has no dropout left to draw")
        if extent is None:
            extent = jnp.broadcast_to(np.asarray(image.shape[1:3], np.int32), (len(image), 2))
        return program.call(_as_taken(image, wanted), extent)

    return predict_step


def _as_taken(image: jax.Array, wanted: np.dtype) -> jax.Array:
    if image.dtype == wanted:
        return image
    if wanted != np.float32:
        raise UserError(
            f"image: has type {image.dtype}, and the model was exported for {wanted}; "
            "`fcnjax export --input=float32` takes all"
        )
    return to_unit(image)
