"""Errors of single images."""

import contextlib
from collections.abc import Iterator

from fcnjax.errors import UserError

ARRAY_PREFIX = "image: "  # of errors about an array, which has no file name


@contextlib.contextmanager
def errors_named(source: str) -> Iterator[None]:
    """Replace the prefix of errors about an array by the name of its file."""
    try:
        yield
    except UserError as error:
        if str(error).startswith(ARRAY_PREFIX):
            raise UserError(f"{source}: {str(error).removeprefix(ARRAY_PREFIX)}") from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the memory of the device was exhausted."""
    return "RESOURCE_EXHAUSTED" in str(error)


def out_of_memory_message(source: str, size: tuple[int, int]) -> str:
    """Return the error for an image of this height and width that exceeds the device's memory."""
    return f"{source}: is {size[1]}x{size[0]}, which does not fit the device's memory"
