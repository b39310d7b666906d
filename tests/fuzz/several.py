"""Reading of a file by several readers, some of which may refuse it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fcnjax.errors import UserError


def read_with_all(readers: Sequence[Callable[..., object]], path: Path, *args: object) -> None:
    """Call each reader with the file.

    Raises:
        UserError: None of them reads it; this is the first error.
    """
    errors = []
    for read in readers:
        try:
            read(path, *args)
        except UserError as error:
            errors.append(error)
    if len(errors) == len(readers):
        raise errors[0]
