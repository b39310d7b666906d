"""The platform that a program is traced for: the fast implementation of a layer depends on it."""

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Platform:
    """The devices that a program will run on.

    Attributes:
        platform: JAX's name (`cpu`, `gpu`, `cuda`, `tpu`, ...); `any` for a program lowered for
            several platforms; or the format of a file for another runtime.
        spatial: The number of devices over which the rows of a map are sharded.
        data: The number of devices over which the images of a batch are sharded.
    """

    platform: str
    spatial: int = 1
    data: int = 1

    @property
    def is_cpu(self) -> bool:
        """True for CPUs."""
        return self.platform == "cpu"

    @property
    def is_gpu(self) -> bool:
        """True for GPUs."""
        return self.platform in ("gpu", "cuda", "rocm")


_platform = contextvars.ContextVar("current_platform", default=None)


def current_platform() -> Platform:
    """Return the platform set by `compile_for`, else one device of JAX's default backend."""
    return _platform.get() or Platform(jax.default_backend())


@contextlib.contextmanager
def override(variable: contextvars.ContextVar, value: Any) -> Iterator[Any]:
    """Set a context variable within a context, or within a decorated function."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def compile_for(platform: Platform) -> contextlib.AbstractContextManager:
    """Set the platform that models called inside this context are traced for.

    Needed where it is not this process's own devices (ahead-of-time compilation), and where maps
    are sharded. Use it as a context, or as a decorator of the function that is traced, since
    gradients are traced after the model.
    """
    return override(_platform, platform)
