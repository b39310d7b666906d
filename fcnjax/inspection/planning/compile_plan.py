"""A training step compiled for devices that need not be there, and what it takes of each."""

import contextlib
import hashlib
import importlib.metadata
import math
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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

STORED = 3  # of the form of what is kept


@dataclass(frozen=True)
class Footprint:
    """What a step takes of each device.

    Attributes:
        batch: Images of a step, over all devices.
        memory: Bytes by part, as they lie there; of a program that the compiler refuses, empty.
        refused: What the compiler says it would need, in bytes; 0 where it does not say; None
            where it compiles.
        operations: Floating-point operations of a step.
        moved: Kind of collective, how many, bytes of their arrays, bytes that a device sends; None
            where the program's text cannot be had.
        seconds: The compilation took.
    """

    batch: int
    memory: dict[str, int] = field(default_factory=dict)
    refused: int | None = None
    operations: float = 0.0
    moved: tuple[tuple[str, int, int, float], ...] | None = ()
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Bytes of memory, all parts."""
        return sum(self.memory.values()) if self.refused is None else self.refused

    @property
    def sent(self) -> float | None:
        """Bytes that a device sends to others; None where that is not known."""
        return None if self.moved is None else sum(row[3] for row in self.moved)

    def fits(self, memory: int | None) -> bool:
        """Whether the compiler takes it, and so much memory holds it."""
        return self.refused is None and (memory is None or self.total <= memory)


class Planner:
    """Compiles the training step of a config for a topology, one batch after another.

    The config is one that `check_plannable` lets pass.

    Attributes:
        topology: The devices.
        mesh: `config.mesh` over them.
    """

    def __init__(self, config: ConfigDict, topology: Topology):
        """Raises UserError where the config does not fit the devices."""
        self.config = config.copy_and_resolve_references()
        self.topology = topology
        self.mesh = mesh_over(config, topology)
        check_height(config.augment.crop[0], self.mesh)
        self._found: dict[int, Footprint] = {}

    @property
    def least(self) -> int:
        """The least batch; all others are multiples of it."""
        return batch_shards(self.mesh) * self.config.train.accumulate

    def footprint(self, batch: int) -> Footprint:
        """What a step of `batch` images takes; kept in the cache folder, for the next time.

        Raises:
            UserError: The batch, or `train.accumulate` parts of it, do not divide over the mesh.
        """
        check_batch_size(batch, self.mesh, "--batch")
        check_accumulate(self.config, self.mesh, batch)
        if batch not in self._found:
            self._found[batch] = self._compile(batch)
        return self._found[batch]

    def _compile(self, batch: int) -> Footprint:
        config = self.config
        config.train.batch_size = batch
        model, optimizer = build_model(config), make_optimizer(config)
        state = state_shapes(model, optimizer, config)
        images = batch_shapes(config, batch)
        lowered = make_train_step(model, optimizer, config, self.mesh).lower(state, images)
        path = cache_dir() / "plans" / f"{_key(lowered.as_text(), self.topology)}.json"
        if path.is_file():
            with contextlib.suppress(UserError, KeyError, TypeError):  # a damaged one is made anew
                kept = read_json(path)
                if kept["moved"] is not None:
                    kept["moved"] = tuple(map(tuple, kept["moved"]))
                return Footprint(**kept)
        to_stderr(f"compiling {batch} images for {self.topology} ...")
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                compiled = lowered.compile(None if self.topology.chip is None else _dump_to(folder))
            except jax.errors.JaxRuntimeError as error:
                found = Footprint(batch, refused=needed(error))
            else:
                text = program_text(compiled, Path(folder))
                found = measure(compiled, text, batch, state, images, self.mesh)
        found = Footprint(**{**asdict(found), "seconds": time.perf_counter() - start})
        to_stderr(f"  {size(found.total)} a device, {found.seconds:.0f} s")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(found))
        return found


def check_plannable(config: ConfigDict) -> None:
    """Raises UserError for a config that does not say what a plan needs without the data."""
    check_config(config)
    data = config.data
    if data.loading.cache == "device":
        raise UserError(
            "config.data.loading.cache: device keeps the whole set in the memory of each device, "
            "and a plan looks at no data; give --config.data.loading.cache=None"
        )
    if not data.class_names or data.labels.label_map:
        which = "data.labels.label_map" if data.labels.label_map else "data.class_names"
        clear = " --config.data.labels.label_map=()" if data.labels.label_map else ""
        raise UserError(
            f"config.{which}: the classes are found by looking at the data, and a plan looks at "
            f"none; give --config.data.class_names=background,road{clear}"
        )


def mesh_over(config: ConfigDict, topology: Topology) -> Mesh:
    """The mesh that `config.mesh` describes over all devices of a topology.

    Raises:
        UserError: It does not divide them, or leaves some out.
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
    """A training batch as the host sends it: images of 8 bits by default, labels where they do."""
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
    """What a compiled step, and its text where it can be had, take of each device."""
    stats = compiled.memory_analysis()
    placed, sharded = state_shardings(state, mesh), batch_sharding(mesh)
    of_state, of_images = compiled.input_formats[0]

    def held(shapes: Any, shardings: Any, formats: Any) -> int:
        leaves = zip(*map(jax.tree.leaves, (shapes, shardings, formats)), strict=True)
        return sum(
            laid_bytes(sharding.shard_shape(leaf.shape), leaf.dtype, form.layout)
            for leaf, sharding, form in leaves
        )

    memory = {
        "parameters": held(*(part.variables for part in (state, placed, of_state))),
        "optimizer state": held(*(part.opt_state for part in (state, placed, of_state))),
        "averages": held(*(part.ema for part in (state, placed, of_state))),
        "batch": held(images, jax.tree.map(lambda _: sharded, images), of_images),
    }
    memory["step number, alignment"] = stats.argument_size_in_bytes - sum(memory.values())
    memory["results"] = stats.output_size_in_bytes - stats.alias_size_in_bytes
    memory["temporaries"] = stats.temp_size_in_bytes
    memory["program"] = stats.generated_code_size_in_bytes
    cost = compiled.cost_analysis() or {}
    return Footprint(batch, memory, None, cost.get("flops", 0.0), moved(text, mesh.size))


def _dump_to(folder: str) -> dict[str, Any]:
    """Compiler options by which libtpu itself writes the program's text into a folder."""
    return {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}


def program_text(compiled: Any, folder: Path) -> str | None:
    """A compiled program's text; None where it cannot be had.

    What libtpu wrote into `folder` goes first. Where it uses operations that are newer than jaxlib,
    as libtpu 0.0.52 does for v5p, jaxlib 0.10.2 cannot print them.
    """
    # Small programs beside the step, if any, have files of their own.
    written = sorted(folder.glob("*.after_optimizations.txt"), key=lambda file: file.stat().st_size)
    if written:
        return written[-1].read_text()
    try:
        return compiled.as_text()
    except jax.errors.JaxRuntimeError:
        return None


def moved(text: str | None, devices: int) -> tuple[tuple[str, int, int, float], ...] | None:
    """The collectives of a program's text by kind: how many, bytes of arrays, bytes sent."""
    if text is None:
        return None
    kinds: dict[str, list] = {}
    for one in collectives(text, devices):
        kinds.setdefault(one.kind, []).append(one)
    return tuple(
        (kind, len(those), sum(one.payload for one in those), sum(one.sent for one in those))
        for kind, those in sorted(kinds.items())
    )


def laid_bytes(shape: Sequence[int], dtype: np.dtype, layout: Any) -> int:
    """Bytes of an array as it lies in memory: a TPU fills its last axes up to whole tiles."""
    sides = list(shape)
    tiling = getattr(layout, "tiling", None)
    if tiling and sides:
        sides = [sides[axis] for axis in layout.major_to_minor]
        for i, tile in enumerate(reversed(tiling[0]), 1):
            if i <= len(sides):
                sides[-i] = -(-sides[-i] // tile) * tile
    return math.prod(sides) * np.dtype(dtype).itemsize


def needed(error: Exception) -> int:
    """The bytes that a refused program would need, at the least; 0 where it is not said.

    Raises:
        Exception: The error itself, where it is not one of memory.
    """
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text:
        raise error
    match = re.search(r"(?:Used |temporaries \()([\d.]+)([KMGT])\)? (?:of|exceeds)", text)
    return int(float(match[1]) * 2 ** (10 * ("KMGT".index(match[2]) + 1))) if match else 0


def _key(program: str, topology: Topology) -> str:
    """What a compilation depends on, as a hash."""
    versions = [importlib.metadata.version("jaxlib")]
    if topology.kind != "cpu":
        versions.append(importlib.metadata.version("libtpu"))
    flags = [os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    parts = [str(STORED), str(topology), *versions, *flags, program]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
