"""Read a file in several ways, of which not all may suit it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fcnjax.errors import UserError


def read_with_all(readers: Sequence[Callable[..., object]], path: Path, *args: object) -> None:
    """Calls each reader with the file.

    Raises:
        UserError: None of them reads it; the first error.
    """
    errors = []
    for read in readers:
        try:
            read(path, *args)
        except UserError as error:
            errors.append(error)
    if len(errors) == len(readers):
        raise errors[0]
