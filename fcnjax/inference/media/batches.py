"""Batched prediction of video frames and volume slices, with reading and writing in threads."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.errors import errors_named, is_out_of_memory, out_of_memory_message
from fcnjax.inference.model import Prediction
from fcnjax.inference.request import Predictor
from fcnjax.io.prefetch import prefetch

MAX_PIXELS, MAX_IMAGES = 2**21, 16  # of a batch
PENDING = 2  # predicted batches that wait to be written

T = TypeVar("T")


def predict_in_batches(
    predictor: Predictor,
    source: str,
    items: Iterable[T],
    pixels: Callable[[T], np.ndarray],
    write: Callable[[T, Prediction], None],
) -> None:
    """Predict images of one size in order. One thread reads the next, another writes the previous.

    Args:
        predictor: The predictor.
        source: Name of the file, for errors.
        items: The items, drawn in a thread.
        pixels: Returns the image `[H, W, C]` of an item.
        write: Called in order, in one thread.

    Raises:
        UserError: From `items` or `write`; or an image does not suit the model or the device's
            memory.
    """
    items = iter(items)
    first = list(itertools.islice(items, 1))
    if not first:
        return
    size = _batch_size(pixels(first[0]))
    items = itertools.chain(first, items)

    def predicted() -> Iterator[list[tuple[T, Prediction]]]:
        read = prefetch(
            lambda _: list(itertools.islice(items, size)), itertools.count(), threads=1, ahead=1
        )
        for batch in itertools.takewhile(bool, read):
            images = [pixels(item) for item in batch]
            yield list(zip(batch, _predict(predictor, source, images, size), strict=True))

    def write_batch(batch: list[tuple[T, Prediction]]) -> None:
        for item, prediction in batch:
            write(item, prediction)

    for _ in prefetch(write_batch, predicted(), threads=1, ahead=PENDING):
        pass


def _batch_size(image: np.ndarray) -> int:
    """Return the number of images of this size in a batch, a power of two."""
    count = max(min(MAX_PIXELS // (image.shape[0] * image.shape[1]), MAX_IMAGES), 1)
    return 1 << (count.bit_length() - 1)


def _predict(
    predictor: Predictor, source: str, images: list[np.ndarray], size: int
) -> list[Prediction]:
    """Predict images in batches of `size`, or smaller ones if the device's memory requires it."""
    # The last batch is padded, so that only one program is compiled.
    padded = images + [images[-1]] * (size - len(images))
    try:
        with errors_named(source):
            return predictor.batch(padded)[: len(images)]
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if size == 1:
            raise UserError(out_of_memory_message(source, images[0].shape[:2])) from error
    half = size // 2
    parts = [images[start : start + half] for start in range(0, len(images), half)]
    return [prediction for part in parts for prediction in _predict(predictor, source, part, half)]
