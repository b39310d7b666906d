"""Keeps the memory of a server that runs for long from growing."""

import contextlib
import ctypes

import jax

_M_ARENA_MAX = -8  # of <malloc.h>


def limit_arenas(count: int = 2) -> None:
    """Has glibc's threads share so many heaps, before they are started; elsewhere does nothing.

    By default there may be eight for each core, and each keeps freed memory of its own.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)


def free_traces() -> None:
    """Frees what JAX keeps of programs that are gone, and returns free memory to the system.

    JAX's caches hold some 1.5 MB of traces for each program. The programs of
    `Model.compile` are not in them.
    """
    jax.clear_caches()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
