"""Named values in the nested dictionaries of a pickle."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from fcnjax.io.safetensors_files import MAX_NAME

_MAX_DEPTH = 32  # of nested dictionaries
_MAX_VALUES = 2**20  # in all dictionaries; shared ones count each time

T = TypeVar("T")


def named_values(
    content: Mapping[str, Any],
    kind: type[T],
    separator: str,
    counter: Iterator[int],
    path: tuple[str, ...] = (),
) -> Iterator[tuple[str, T]]:
    """Yield the values of a type in a dictionary and in those nested in it, with their names.

    Args:
        content: The dictionary.
        kind: The type of the values.
        separator: Joins the keys on the path to a value, which make its name.
        counter: Counts the values of all types in the file.
        path: The keys on the path to `content`.

    Raises:
        ValueError: Dictionaries are cyclic, nested too deeply, or have too many values in all; or a
            name is too long.
    """
    if len(path) > _MAX_DEPTH:
        raise ValueError(f"dictionaries nested more than {_MAX_DEPTH} deep")
    for key, value in content.items():
        if next(counter) > _MAX_VALUES:
            raise ValueError(f"dictionaries of more than {_MAX_VALUES} values")
        if isinstance(value, kind):
            if sum(map(len, path)) + len(key) > MAX_NAME:
                raise ValueError(f"a tensor with a name of more than {MAX_NAME} characters")
            yield separator.join((*path, key)), value
        elif isinstance(value, dict):
            yield from named_values(value, kind, separator, counter, (*path, key))
