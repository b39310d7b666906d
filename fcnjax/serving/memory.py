"""Limits on the memory of a long-running server."""

import contextlib
import ctypes

import jax

_M_ARENA_MAX = -8  # of <malloc.h>


def limit_arenas() -> None:
    """Limit the heaps of glibc to two, before threads start; does nothing with other libraries.

    By default there may be eight per core, and each keeps its own freed memory.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def free_traces() -> None:
    """Free JAX's caches of discarded programs, and return free memory to the system.

    The caches hold about 1.5 MB of traces per program. The programs of `Model.compile` are not
    in them.
    """
    jax.clear_caches()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
