"""The device mesh, and how batches and states lie on it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fcnjax.errors import UserError

AXES = ("data", "fsdp", "spatial")


def make_mesh(config: ConfigDict) -> Mesh:
    """Builds the mesh that `config.mesh` describes, over the first devices there are.

    Raises:
        UserError: More devices are asked for than there are.
    """
    devices = jax.devices()
    data = len(devices) if config.mesh.data == -1 else config.mesh.data
    if not 1 <= data <= len(devices):
        raise UserError(
            f"config.mesh.data: {config.mesh.data} devices asked for; valid: -1 (all), "
            f"or 1 to {len(devices)}"
        )
    return mesh_of(devices[:data], data)


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


def to_devices(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Joins each process's part of a batch into arrays sharded over the mesh."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
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


def must_wait(mesh: Mesh) -> bool:
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
