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
    source: str, what: str, asked: Collection[str], valid: Collection[str], instead: str = ""
) -> tuple[str, ...]:
    """Of the outputs that are asked for those that a form of file has.

    An overlay is passed over where there is none, since it is asked for by default.

    Args:
        source: The file.
        what: Its form.
        asked: Names in `OUTPUTS`.
        valid: Those that the form has.
        instead: What to ask for instead of `components`.

    Raises:
        UserError: It lacks one that was asked for, or has none of them.
    """
    outputs = tuple(name for name in asked if name in valid)
    lacks = [name for name in asked if name not in valid and name != "overlay"]
    if lacks or not outputs:
        words = f"; {instead}" if "components" in lacks and instead else ""
        raise UserError(
            f"{source}: --outputs of {what}: valid: {', '.join(valid)}; not "
            f"{', '.join(lacks) or 'overlay alone'}{words}"
        )
    return outputs
