"""Ahead-of-time compilation of a training step for absent devices, and its footprint on each."""

import contextlib
import hashlib
import importlib.metadata
import math
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.loading.canvas import canvas_size
from fcnjax.errors import UserError
from fcnjax.inspection.planning.collectives import collectives
from fcnjax.inspection.planning.topology import Topology, devices_of
from fcnjax.inspection.summaries.text import size
from fcnjax.io.atomic_files import cache_dir, write_json
from fcnjax.io.json_files import read_json
from fcnjax.models import build_model
from fcnjax.optim import make_optimizer
from fcnjax.parallel.mesh import (
    batch_sharding,
    batch_shards,
    check_batch_size,
    check_height,
    make_mesh,
    state_shardings,
)
from fcnjax.runtime.packages import to_stderr
from fcnjax.training.accumulate import check_accumulate
from fcnjax.training.config_checks import check_config
from fcnjax.training.state import TrainState, state_shapes
from fcnjax.training.step import make_train_step

FORMAT_VERSION = 3  # of the stored footprints


@dataclass(frozen=True)
class Footprint:
    """Memory, operations and communication of a step on each device.

    Attributes:
        batch: Images of a step, over all devices.
        memory: Bytes by part, in the device's layout; empty if the compiler refuses the program.
        refused: Bytes that a refused program would need, 0 if the compiler does not say; None if it
            compiles.
        operations: Floating-point operations of a step.
        moved: Kind of collective, count, bytes of their arrays, bytes that a device sends; None if
            the text of the program is not available.
        seconds: Time of the compilation.
    """

    batch: int
    memory: dict[str, int] = field(default_factory=dict)
    refused: int | None = None
    operations: float = 0.0
    moved: tuple[tuple[str, int, int, float], ...] | None = ()
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Bytes of all memory."""
        return sum(self.memory.values()) if self.refused is None else self.refused

    @property
    def sent(self) -> float | None:
        """Bytes that a device sends to others; None if unknown."""
        return None if self.moved is None else sum(row[3] for row in self.moved)

    def fits(self, memory: int | None) -> bool:
        """Return whether it compiles and fits into so much memory."""
        return self.refused is None and (memory is None or self.total <= memory)


class Planner:
    """Compiles the training step of a config for a topology, one batch after another.

    The config must pass `check_plannable`.

    Attributes:
        topology: The devices.
        mesh: The mesh of `config.mesh` over them.
    """

    def __init__(self, config: ConfigDict, topology: Topology):
        """Raise UserError if the config does not fit the devices."""
        self.config = config.copy_and_resolve_references()
        self.topology = topology
        self.mesh = mesh_over(config, topology)
        check_height(config.augment.crop[0], self.mesh)

    @property
    def smallest_batch(self) -> int:
        """The smallest batch; all others are multiples of it."""
        return batch_shards(self.mesh) * self.config.train.accumulate

    def footprint(self, batch: int) -> Footprint:
        """Return the footprint of a step of `batch` images, which is stored in the cache folder.

        Raises:
            UserError: The batch, or its `train.accumulate` parts, cannot be divided over the mesh.
        """
        check_batch_size(batch, self.mesh, "--batch")
        check_accumulate(self.config, self.mesh, batch)
        config = self.config
        config.train.batch_size = batch
        model, optimizer = build_model(config), make_optimizer(config)
        state = state_shapes(model, optimizer, config)
        images = batch_shapes(config, batch)
        lowered = make_train_step(model, optimizer, config, self.mesh).lower(state, images)
        path = cache_dir() / "plans" / f"{_key(lowered.as_text(), self.topology)}.json"
        if path.is_file():
            with contextlib.suppress(UserError, KeyError, TypeError):  # a damaged file is replaced
                stored = read_json(path)
                if stored["moved"] is not None:
                    stored["moved"] = tuple(map(tuple, stored["moved"]))
                return Footprint(**stored)
        to_stderr(f"compiling {batch} images for {self.topology} ...")
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            # With these options libtpu writes the program's text into the folder.
            dump = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
            try:
                compiled = lowered.compile(dump if self.topology.chip else None)
            except jax.errors.JaxRuntimeError as error:
                footprint = Footprint(batch, refused=required_bytes(error))
            else:
                text = program_text(compiled, Path(folder))
                footprint = measure(compiled, text, batch, state, images, self.mesh)
        footprint = replace(footprint, seconds=time.perf_counter() - start)
        to_stderr(f"  {size(footprint.total)} a device, {footprint.seconds:.0f} s")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(footprint))
        return footprint


def check_plannable(config: ConfigDict) -> None:
    """Raise UserError for a config that leaves to the data what a plan needs."""
    check_config(config)
    data = config.data
    if data.loading.cache == "device":
        raise UserError(
            "config.data.loading.cache: device keeps the whole dataset in the memory of each "
            "device, and a plan reads no data; give --config.data.loading.cache=None"
        )
    if not data.class_names or data.labels.label_map:
        key = "data.labels.label_map" if data.labels.label_map else "data.class_names"
        clear = " --config.data.labels.label_map=()" if data.labels.label_map else ""
        raise UserError(
            f"config.{key}: the classes are found in the data, and a plan reads no data; give "
            f"--config.data.class_names=background,road{clear}"
        )


def mesh_over(config: ConfigDict, topology: Topology) -> Mesh:
    """Return the mesh of `config.mesh` over all devices of a topology.

    Raises:
        UserError: The mesh does not divide the devices, or leaves some out.
    """
    devices = devices_of(topology)
    mesh = make_mesh(config, devices)
    if mesh.size != len(devices):
        raise UserError(
            f"config.mesh.data: {config.mesh.data} leaves out {len(devices) - mesh.size} devices "
            f"of {topology}; valid: -1 (all)"
        )
    return mesh


def batch_shapes(config: ConfigDict, batch: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of a training batch, with 8-bit images by default."""
    shape = (batch, *canvas_size(config.augment))
    channels = len(channel_names(config.data.channels))
    label = np.uint8 if len(config.data.class_names) <= 255 else np.int32
    return {
        "image": jax.ShapeDtypeStruct((*shape, channels), config.data.pixel_type or np.uint8),
        "label": jax.ShapeDtypeStruct(shape, label),
        "bounds": jax.ShapeDtypeStruct((batch, 4), np.int32),
        "valid": jax.ShapeDtypeStruct((batch,), bool),
    }


def measure(
    compiled: Any, text: str | None, batch: int, state: TrainState, images: dict, mesh: Mesh
) -> Footprint:
    """Return the footprint of a compiled step, whose text may be missing."""
    stats = compiled.memory_analysis()
    shardings, sharded = state_shardings(state, mesh), batch_sharding(mesh)
    state_formats, image_formats = compiled.input_formats[0]

    def count_bytes(shapes: Any, shardings: Any, formats: Any) -> int:
        leaves = zip(*map(jax.tree.leaves, (shapes, shardings, formats)), strict=True)
        return sum(
            padded_bytes(sharding.shard_shape(leaf.shape), leaf.dtype, layout_format.layout)
            for leaf, sharding, layout_format in leaves
        )

    fields = {"parameters": "variables", "optimizer state": "opt_state", "averages": "ema"}
    memory = {
        part: count_bytes(*(getattr(tree, name) for tree in (state, shardings, state_formats)))
        for part, name in fields.items()
    }
    memory["batch"] = count_bytes(images, jax.tree.map(lambda _: sharded, images), image_formats)
    memory["step number, alignment"] = stats.argument_size_in_bytes - sum(memory.values())
    memory["results"] = stats.output_size_in_bytes - stats.alias_size_in_bytes
    memory["temporaries"] = stats.temp_size_in_bytes
    memory["program"] = stats.generated_code_size_in_bytes
    cost = compiled.cost_analysis() or {}
    return Footprint(
        batch, memory, None, cost.get("flops", 0.0), count_collectives(text, mesh.size)
    )


def program_text(compiled: Any, folder: Path) -> str | None:
    """Return the text of a compiled program; None if it is not available.

    The file that libtpu wrote into `folder` is preferred. jaxlib cannot print operations that are
    newer than itself, such as those of libtpu 0.0.52 for v5p with jaxlib 0.10.2.
    """
    # The largest file is the step; smaller programs have files of their own.
    written = sorted(folder.glob("*.after_optimizations.txt"), key=lambda file: file.stat().st_size)
    if written:
        return written[-1].read_text()
    try:
        return compiled.as_text()
    except jax.errors.JaxRuntimeError:
        return None


def count_collectives(
    text: str | None, devices: int
) -> tuple[tuple[str, int, int, float], ...] | None:
    """Count the collectives of a program by kind, with the bytes of arrays and the bytes sent."""
    if text is None:
        return None
    kinds: dict[str, list] = {}
    for collective in collectives(text, devices):
        kinds.setdefault(collective.kind, []).append(collective)
    return tuple(
        (kind, len(group), sum(each.payload for each in group), sum(each.sent for each in group))
        for kind, group in sorted(kinds.items())
    )


def padded_bytes(shape: Sequence[int], dtype: np.dtype, layout: Any) -> int:
    """Return the bytes of an array in memory; a TPU pads its last axes to full tiles."""
    sides = list(shape)
    tiling = getattr(layout, "tiling", None)
    if tiling and sides:
        sides = [sides[axis] for axis in layout.major_to_minor]
        for i, tile in enumerate(reversed(tiling[0]), 1):
            if i <= len(sides):
                sides[-i] = -(-sides[-i] // tile) * tile
    return math.prod(sides) * np.dtype(dtype).itemsize


def required_bytes(error: Exception) -> int:
    """Return the least bytes that a refused program would need; 0 if the error does not say.

    Raises:
        Exception: The error itself, if it is not about memory.
    """
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text:
        raise error
    match = re.search(r"(?:Used |temporaries \()([\d.]+)([KMGT])\)? (?:of|exceeds)", text)
    return int(float(match[1]) * 2 ** (10 * ("KMGT".index(match[2]) + 1))) if match else 0


def _key(program: str, topology: Topology) -> str:
    """Return a hash of everything that a compilation depends on."""
    versions = [importlib.metadata.version("jaxlib")]
    if topology.kind != "cpu":
        versions.append(importlib.metadata.version("libtpu"))
    flags = [os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    parts = [str(FORMAT_VERSION), str(topology), *versions, *flags, program]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
