"""Prints the memory of the activations that a model keeps for its gradient, with and without remat.

    python benchmarks/activation_memory.py --config.model.decoder=fpn

The step is traced, not run, for two images of 256x256 and three classes. Options override the
default config.
"""

import sys

import jax
import jax.numpy as jnp

from fcnjax.config import default_config, override
from fcnjax.models import build_model


def activation_bytes(config) -> int:
    """Return the bytes that the backward pass reads, without the parameters."""
    model, image = build_model(config), jnp.zeros((2, 256, 256, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    stats = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes.get("batch_stats", {}))

    def logits(params):
        variables = {"params": params, "batch_stats": stats}
        keys = {"dropout": jax.random.key(1)}
        out, _ = model.apply(variables, image, train=True, rngs=keys, mutable=["batch_stats"])
        return out["logits"]

    residuals = jax.eval_shape(lambda params: jax.vjp(logits, params)[1], shapes["params"])
    sizes = [
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for tree in (residuals, shapes["params"])
    ]
    return sizes[0] - sizes[1]


def main(words: list[str]) -> None:
    """Print the two sizes and their ratio."""
    config = default_config()
    config.data.class_names = ("a", "b", "c")
    for word in words:
        override(config, word)
    plain = activation_bytes(config)
    config.model.remat = True
    with_remat = activation_bytes(config)
    ratio = with_remat / plain
    print(f"{plain / 2**20:.0f} MiB; with remat {with_remat / 2**20:.0f} MiB ({ratio:.2f})")


if __name__ == "__main__":
    main(sys.argv[1:])
