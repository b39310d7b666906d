"""What goes wrong with one image or file, told by its name."""

import contextlib
from collections.abc import Collection, Iterator

from fcnjax.errors import UserError

ARRAY = "image: "  # begins what a model says of an array, which has no file's name


@contextlib.contextmanager
def naming(source: str) -> Iterator[None]:
    """Within it, what a model says of an array is said of the file that it is from."""
    try:
        yield
    except UserError as error:
        if str(error).startswith(ARRAY):
            raise UserError(f"{source}: {str(error).removeprefix(ARRAY)}") from error
        raise


def is_out_of_memory(fault: Exception) -> bool:
    """Whether the device's memory did not suffice; another fault is not the image's."""
    return "RESOURCE_EXHAUSTED" in str(fault)


def too_large(source: str, size: tuple[int, int]) -> str:
    """The line on an image of this height and width that does not fit the device's memory."""
    return f"{source}: is {size[1]}x{size[0]}, which does not fit the device's memory"


def outputs_of(
    source: str, what: str, asked: Collection[str], valid: Collection[str]
) -> tuple[str, ...]:
    """Of the outputs that are asked for those that a form of file has.

    Raises:
        UserError: It has none of them.
    """
    outputs = tuple(name for name in asked if name in valid)
    if not outputs:
        raise UserError(f"{source}: --outputs of {what}: valid: {', '.join(valid)}")
    return outputs
