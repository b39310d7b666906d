"""Inputs of a prediction and the result of each."""

from typing import NamedTuple


class InputItem(NamedTuple):
    """An image, raster, video or volume to predict.

    Attributes:
        index: Position in the listing.
        id: Stem of the output file names; may contain folders.
        source: Path or URI. If `content` is set, the name of the record.
        content: Bytes of the image file, or None to read `source`.
        error: Why the input could not be read, or None.
    """

    index: int
    id: str
    source: str
    content: bytes | None = None
    error: str | None = None


class ItemResult(NamedTuple):
    """Result of predicting one input.

    Attributes:
        item: The input.
        size: Height and width in pixels, or None after an error.
        mask: Mask file, relative to the output folder, or None if no mask was written.
        error: One-line error message, or None on success.
        seconds: Time spent on reading, predicting and writing, without waiting.
    """

    item: InputItem
    size: tuple[int, int] | None
    mask: str | None
    error: str | None
    seconds: float


Written = tuple[tuple[int, int], str | None]  # `size` and `mask` of an `ItemResult`


def failed(item: InputItem, error: object, seconds: float = 0.0) -> ItemResult:
    """Return the result of an input that could not be predicted."""
    return ItemResult(item, None, None, str(error), seconds)
