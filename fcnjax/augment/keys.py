"""Random keys by name."""

import zlib

import jax


def named_key(key: jax.Array, name: str) -> jax.Array:
    """A key of its own for a random choice.

    It depends on nothing but the name: another choice, when it comes or goes, does not change it.
    """
    # Small numbers would be the keys that `split` gives.
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
