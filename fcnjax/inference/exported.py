"""Models written by `fcnjax export`, called as the model of a workdir is.

A program is code and may contain any operation that the device runs. Its hash detects damage, not
a hostile author.
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
from fcnjax.inference.inputs.fetch import read_error
from fcnjax.inference.model import Model
from fcnjax.io.atomic_files import sha256
from fcnjax.models import FeatureMap
from fcnjax.training.workdir import load_saved_config, without_machine_keys

_IMAGE_TYPES = [(4, pixel_type) for pixel_type in PIXEL_TYPES]  # rank and dtype


def load_exported(
    folder: Path, metadata: dict[str, Any], step: str | int = "best", dtype: str | None = None
) -> Model:
    """Load a model exported with `fcnjax export --format=stablehlo`.

    Args:
        folder: The folder, as `find_exported` returns it.
        metadata: Its metadata, as `find_exported` returns it.
        step: `best`, `latest`, or the step that was exported.
        dtype: None, or the computation type that was exported.

    Raises:
        UserError: The model is damaged, for another runtime, or of another step or type.
    """
    check_exported(folder, metadata, dtype)
    if step not in ("best", "latest", metadata["step"]):
        raise UserError(f"{folder}: holds step {metadata['step']} alone")
    file, config = folder / PROGRAM_FILE, without_machine_keys(load_saved_config(folder))
    if not file.is_file() or sha256(file) != metadata["sha256"].get(PROGRAM_FILE):
        raise UserError(f"{file}: is missing or damaged; export the model again")
    program = _read_program(file)
    if (input_dtype := program.in_avals[0].dtype) != np.float32:
        # The program may take a narrower type than the model was trained on.
        config.data.pixel_type = str(input_dtype)
    return Model(config, _make_predict_step(program), {}, metadata["step"])


def _read_program(file: Path) -> export.Exported:
    """Read a program of `image [B, H, W, C]` and `extent [B, 2]`.

    Raises:
        UserError: This version of JAX cannot read the file, or it takes other arguments.
    """
    try:
        program = export.deserialize(bytearray(file.read_bytes()))
        arguments = [(len(aval.shape), str(aval.dtype)) for aval in program.in_avals]
    except Exception as error:  # JAX raises errors of flatbuffers, MLIR and Python
        raise read_error(file, error) from error
    if len(arguments) != 2 or arguments[0] not in _IMAGE_TYPES or arguments[1] != (2, "int32"):
        raise UserError(f"{file}: is no program of images and their extents; export it again")
    return program


def _make_predict_step(program: export.Exported) -> Callable[..., dict[str, jax.Array]]:
    """Return the program with the signature of `training.step.make_predict_step`."""
    input_dtype = program.in_avals[0].dtype

    def predict_step(
        _: Any,
        image: jax.Array,
        extent: jax.Array | None = None,
        key: jax.Array | None = None,
        like: FeatureMap | None = None,  # the program resizes by itself
        only_mask: bool = False,
    ) -> dict[str, jax.Array]:
        if key is not None:
            raise UserError("--dropout-samples: an exported program has no dropout left to draw")
        if extent is None:
            extent = jnp.broadcast_to(np.asarray(image.shape[1:3], np.int32), (len(image), 2))
        outputs = program.call(_convert_input(image, input_dtype), extent)
        return {"mask": outputs["mask"]} if only_mask else outputs

    return predict_step


def _convert_input(image: jax.Array, dtype: np.dtype) -> jax.Array:
    if image.dtype == dtype:
        return image
    if dtype != np.float32:
        raise UserError(
            f"image: has type {image.dtype}, and the model was exported for {dtype}; "
            "`fcnjax export --input=float32` takes all"
        )
    return to_unit(image)
