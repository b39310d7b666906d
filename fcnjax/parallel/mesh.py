"""The device mesh, and the sharding of batches and states over it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.errors import UserError
from fcnjax.io.prefetch import look_ahead

# A batch is divided over `data` and `fsdp`, parameters and the optimizer's state over `fsdp`, and
# the height of images and features over `spatial`.
AXES = ("data", "fsdp", "spatial")
MIN_SHARDED_SIZE = 2**14  # smaller arrays are not worth dividing


def make_mesh(config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Build the mesh of `config.mesh` over the first of the devices.

    Args:
        config: The config.
        devices: The devices; None is all devices.

    Raises:
        UserError: The axes do not divide the devices, or leave out devices of another process.
    """
    devices, sizes = jax.devices() if devices is None else devices, config.mesh
    check_section(sizes, "mesh")
    others = sizes.fsdp * sizes.spatial
    data = len(devices) // others if sizes.data == -1 else sizes.data
    count = data * others
    if data < 1 or count > len(devices) or (sizes.data == -1 and count != len(devices)):
        product = " x ".join(f"{axis} {sizes[axis]}" for axis in AXES if sizes[axis] != -1)
        raise UserError(
            f"config.mesh: {product} does not fit {len(devices)} devices; valid: axes whose "
            "product divides their number"
        )
    if jax.process_count() > 1 and count != len(devices):
        raise UserError(
            f"config.mesh.data: {data} leaves out {len(devices) - count} devices of "
            f"{jax.process_count()} processes; valid: -1 (all)"
        )
    return mesh_of(devices[:count], data, sizes.fsdp, sizes.spatial)


def mesh_of(devices: Sequence[jax.Device], data: int, fsdp: int = 1, spatial: int = 1) -> Mesh:
    """Return a mesh of the devices, whose number is the product of the axes."""
    shape = (data, fsdp, spatial)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device holds entirely."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def image_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of the model's input `[B, H, ...]`: its height is divided, too."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "spatial"))


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Return the sharding of each array of a state or of its shapes.

    The longest side of a large array that is divisible by `fsdp` is divided over it.
    """
    parts = mesh.shape["fsdp"]

    def sharding(leaf: Any) -> NamedSharding:
        valid = [axis for axis, side in enumerate(leaf.shape) if side % parts == 0]
        if parts == 1 or not valid or math.prod(leaf.shape) < MIN_SHARDED_SIZE:
            return replicated(mesh)
        axis = max(valid, key=lambda axis: (leaf.shape[axis], axis))
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))

    return jax.tree.map(sharding, state)


def gather(arrays: Any, mesh: Mesh) -> Any:
    """Return the arrays of a tree replicated on every device."""
    if mesh.shape["fsdp"] == 1:
        return arrays
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(arrays)


def batch_shards(mesh: Mesh) -> int:
    """Return the number of devices over which a batch is divided."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch_size(batch_size: int, mesh: Mesh, key: str) -> None:
    """Raise UserError unless a batch divides evenly over the mesh."""
    shards = batch_shards(mesh)
    if batch_size < 1 or batch_size % shards:
        raise UserError(
            f"{key}: {batch_size} does not divide over {shards} devices; valid: "
            f"{shards}, {2 * shards}, {3 * shards}, ..."
        )


def check_height(height: int, mesh: Mesh) -> None:
    """Raise UserError unless the height of a crop divides evenly over the mesh."""
    if height % mesh.shape["spatial"]:
        raise UserError(
            f"config.augment.crop: the height {height} does not divide over config.mesh.spatial = "
            f"{mesh.shape['spatial']} devices"
        )


def process_shard(mesh: Mesh) -> dict[str, int]:
    """Return the part of each global batch that this process reads.

    Processes whose devices hold rows of the same images read the same part.

    Returns:
        `process_index` and `process_count`: the index of the part and the number of parts.

    Raises:
        UserError: The parts would overlap or differ in size.
    """
    rows_by_process: dict[int, set[int]] = {}
    for row, devices in enumerate(mesh.devices.reshape(batch_shards(mesh), -1)):
        for device in devices:
            rows_by_process.setdefault(device.process_index, set()).add(row)
    parts = sorted({tuple(sorted(rows)) for rows in rows_by_process.values()})
    if len({len(part) for part in parts}) > 1 or sum(map(len, parts)) != batch_shards(mesh):
        raise UserError(
            f"config.mesh.spatial: {mesh.shape['spatial']} divides images over processes unevenly; "
            "valid: a number that divides the devices of a process, or is a multiple of it"
        )
    part = tuple(sorted(rows_by_process[jax.process_index()]))
    return {"process_index": parts.index(part), "process_count": len(parts)}


def to_devices(batch: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
    """Combine the parts of a batch that the processes read into arrays sharded over the mesh."""
    sharding, count = batch_sharding(mesh), process_shard(mesh)["process_count"]

    def combine(value: np.ndarray) -> jax.Array:
        shape = (count * len(value), *value.shape[1:])
        return jax.make_array_from_process_local_data(sharding, value, shape)

    return jax.tree.map(combine, batch)


def prefetch_to_devices(
    batches: Iterable[dict], mesh: Mesh, ahead: int = 2
) -> Iterator[dict[str, Any]]:
    """Yield the batches as device arrays, and start the transfer of `ahead` later ones."""
    # Transfers are asynchronous, so that no thread is needed.
    return look_ahead((to_devices(batch, mesh) for batch in batches), ahead)


def needs_sync(mesh: Mesh) -> bool:
    """Return whether each step must end before the next one is started.

    Several CPU devices share a pool of threads. Steps that were started early can occupy all of
    them, each waiting in a collective for a device that gets no thread.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def to_host(array: jax.Array) -> np.ndarray:
    """Return an array, which may be sharded, in the memory of every process."""
    if array.is_fully_addressable:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
