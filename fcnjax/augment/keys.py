"""Random keys by name."""

import zlib

import jax


def named_key(key: jax.Array, name: str) -> jax.Array:
    """Return the random key of a named augmentation.

    The key depends on the name only, so that adding or removing another augmentation does not
    change it.
    """
    # A CRC, since small numbers would give the keys of `split`.
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
