"""Folders that `fcnjax export --format=stablehlo` writes: their config and their program."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

import fcnjax
from fcnjax.config import default_config
from fcnjax.inference.identity import EXPORT_SECTION, EXPORT_VERSION, PROGRAM_FILE
from fcnjax.io.atomic_files import sha256
from fcnjax.training.workdir import CONFIG_FILE, save_config
from tests.fuzz.mutations import BYTES, JSON
from tests.fuzz.target import Target
from tests.helpers.data_keys import set_data


def _program(image: jax.Array, extent: jax.Array) -> dict[str, jax.Array]:
    values = jnp.stack([image.mean(-1) / 255, jnp.ones(image.shape[:3])], -1) * extent.max()
    return {"mask": values.argmax(-1).astype(jnp.int32), "probabilities": values}


def _make(folder: Path) -> list[Path]:
    config = default_config()
    classes = {"class_names": ("ground", "vessel"), "palette": ((0, 0, 0), (255, 255, 255))}
    set_data(config, mask_values=(0, 1), pixel_type="uint8", **classes)
    shapes = jax.ShapeDtypeStruct((1, 8, 8, 3), "uint8"), jax.ShapeDtypeStruct((1, 2), "int32")
    program = folder / PROGRAM_FILE
    program.write_bytes(export.export(jax.jit(_program))(*shapes).serialize())
    told = {"format_version": EXPORT_VERSION, "format": "stablehlo", "step": 10}
    told |= {"dtype": "float32", "sha256": {PROGRAM_FILE: sha256(program)}}
    save_config(folder, config, **{EXPORT_SECTION: told})
    return [folder / CONFIG_FILE, program]


def _read(path: Path) -> None:
    fcnjax.load(path.parent)


TARGETS = [Target("exported", _make, _read, [*JSON, *BYTES])]
