"""The device mesh, and how batches and states lie on it."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fcnjax.config import check_section
from fcnjax.errors import UserError

# Examples of a batch lie on `data` and `fsdp`; parameters and what the optimizer keeps of them are
# divided over `fsdp`; the height of images and features over `spatial`.
AXES = ("data", "fsdp", "spatial")
SMALL = 2**14  # numbers of an array below which it is not worth dividing


def make_mesh(config: ConfigDict, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the mesh that `config.mesh` describes, over the first of the devices (all there are).

    Raises:
        UserError: It does not divide the devices, or leaves out those of another process.
    """
    devices, sizes = jax.devices() if devices is None else devices, config.mesh
    check_section(sizes, "mesh")
    within = sizes.fsdp * sizes.spatial
    data = len(devices) // within if sizes.data == -1 else sizes.data
    asked = data * within
    if data < 1 or asked > len(devices) or (sizes.data == -1 and asked != len(devices)):
        wanted = " x ".join(f"{axis} {sizes[axis]}" for axis in AXES if sizes[axis] != -1)
        raise UserError(
            f"config.mesh: {wanted} does not go into {len(devices)} devices; valid: axes whose "
            "product divides their number"
        )
    if jax.process_count() > 1 and asked != len(devices):
        raise UserError(
            f"config.mesh.data: {data} leaves out {len(devices) - asked} devices of "
            f"{jax.process_count()} processes; valid: -1 (all)"
        )
    return mesh_of(devices[:asked], data, sizes.fsdp, sizes.spatial)


def mesh_of(devices: Sequence[jax.Device], data: int, fsdp: int = 1, spatial: int = 1) -> Mesh:
    """A mesh of these devices, whose number is the product of the axes."""
    shape = (data, fsdp, spatial)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def image_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of `[B, H, ...]` as the model computes on it: the height is divided too."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "spatial"))


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """The sharding of each array of a state, or of its shapes.

    The longest side that `fsdp` divides is divided over it, of arrays that are not small.
    """
    parts = mesh.shape["fsdp"]

    def of(leaf: Any) -> NamedSharding:
        fits = [axis for axis, side in enumerate(leaf.shape) if side % parts == 0]
        if parts == 1 or not fits or math.prod(leaf.shape) < SMALL:
            return replicated(mesh)
        axis = max(fits, key=lambda axis: (leaf.shape[axis], axis))
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))

    return jax.tree.map(of, state)


def gathered(arrays: Any, mesh: Mesh) -> Any:
    """The arrays of a tree, whole on every device."""
    if mesh.shape["fsdp"] == 1:
        return arrays
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(arrays)


def batch_shards(mesh: Mesh) -> int:
    """Over how many devices a batch is divided."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch_size(batch_size: int, mesh: Mesh, key: str) -> None:
    """Raises UserError unless a batch divides evenly over the mesh."""
    shards = batch_shards(mesh)
    if batch_size < 1 or batch_size % shards:
        raise UserError(
            f"{key}: {batch_size} does not divide over {shards} devices; valid: "
            f"{shards}, {2 * shards}, {3 * shards}, ..."
        )


def check_height(height: int, mesh: Mesh) -> None:
    """Raises UserError unless the height of a crop divides evenly over the mesh."""
    if height % mesh.shape["spatial"]:
        raise UserError(
            f"config.augment.crop: the height {height} does not divide over config.mesh.spatial = "
            f"{mesh.shape['spatial']} devices"
        )


def process_shard(mesh: Mesh) -> dict[str, int]:
    """Which part of each global batch this process reads: `process_index` of `process_count`.

    Processes whose devices hold rows of the same images read the same part.

    Raises:
        UserError: The processes' parts would overlap, or differ in size.
    """
    rows_of: dict[int, set[int]] = {}
    for row, devices in enumerate(mesh.devices.reshape(batch_shards(mesh), -1)):
        for device in devices:
            rows_of.setdefault(device.process_index, set()).add(row)
    parts = sorted({tuple(sorted(rows)) for rows in rows_of.values()})
    if len({len(part) for part in parts}) > 1 or sum(map(len, parts)) != batch_shards(mesh):
        raise UserError(
            f"config.mesh.spatial: {mesh.shape['spatial']} divides images over processes unevenly; "
            "valid: a number that divides the devices of a process, or is a multiple of it"
        )
    own = tuple(sorted(rows_of[jax.process_index()]))
    return {"process_index": parts.index(own), "process_count": len(parts)}


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Joins each process's part of a batch into arrays sharded over the mesh."""
    sharding, count = batch_sharding(mesh), process_shard(mesh)["process_count"]
    return {
        name: jax.make_array_from_process_local_data(
            sharding, value, (count * len(value), *value.shape[1:])
        )
        for name, value in batch.items()
    }


def prefetch(batches: Iterable[dict], mesh: Mesh, ahead: int = 2) -> Iterator[dict[str, Any]]:
    """Yields the batches as device arrays, starting the transfer of `ahead` of them early."""
    queue = deque()
    for batch in batches:
        queue.append(to_devices(batch, mesh))
        if len(queue) > ahead:
            yield queue.popleft()
    yield from queue


def needs_sync(mesh: Mesh) -> bool:
    """Whether each step must end before the next is started.

    Several CPU devices share one pool of threads: steps started ahead can hold all of them, each
    waiting in a collective for another device that then gets no thread.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def to_host(array: jax.Array) -> np.ndarray:
    """The whole of a (possibly sharded) array, on every process."""
    if array.is_fully_addressable:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
