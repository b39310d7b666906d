"""Training batches on the devices."""

import contextlib
from collections.abc import Iterator

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.data.loading import pipeline
from fcnjax.parallel.mesh import prefetch_to_devices, process_shard, replicated


def device_batches(
    source: data.Source, config: ConfigDict, mesh: Mesh, start: int
) -> Iterator[dict[str, jax.Array]]:
    """Yield training batches on the devices, from global batch `start` on.

    With `config.data.loading.cache=device`, a batch contains the indices of its examples and the
    entire dataset, which is copied to every device once.
    """
    shard = process_shard(mesh)
    if config.data.loading.cache != "device":
        batches = pipeline.train_batches(source, config, start, **shard)
        with contextlib.closing(batches):
            yield from prefetch_to_devices(batches, mesh)
        return
    arrays = pipeline.load_all(source, config.data.ignore_label)
    cache = {
        f"{name}s": jax.device_put(arrays[name], replicated(mesh)) for name in ("image", "label")
    }
    batches = pipeline.index_batches(
        source, config, start, arrays["label"], arrays["extent"], **shard
    )
    for batch in prefetch_to_devices(batches, mesh):
        yield {**batch, **cache}
