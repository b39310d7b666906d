"""What a program is traced for: which form of a layer is the fast one depends on it."""

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class Platform:
    """The devices that a program will run on.

    Attributes:
        platform: As JAX calls it: `cpu`, `gpu`, `cuda`, `tpu`, ...; or `any`, of a program that is
            lowered for several; or the format of a file for another runtime.
        spatial: Over how many devices the rows of a map are divided.
    """

    platform: str
    spatial: int = 1

    @property
    def is_cpu(self) -> bool:
        """Whether they are CPUs."""
        return self.platform == "cpu"

    @property
    def is_gpu(self) -> bool:
        """Whether they are GPUs."""
        return self.platform in ("gpu", "cuda", "rocm")


_platform = contextvars.ContextVar("current_platform", default=None)


def current_platform() -> Platform:
    """What is traced for: what `compile_for` says, else one device of JAX's default kind."""
    return _platform.get() or Platform(jax.default_backend())


@contextlib.contextmanager
def compile_for(platform: Platform) -> Iterator[None]:
    """States what the model calls inside it are traced for.

    It matters where that is not this process's own devices (a program compiled ahead for others),
    and where maps are divided. As a context or, on the function that is traced, as a decorator:
    gradients are traced after the model.
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)
