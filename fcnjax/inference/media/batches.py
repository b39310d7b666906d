"""Labels the frames of a video, or the slices of a volume: several at once, the next read ahead."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.errors import is_out_of_memory, naming, too_large
from fcnjax.inference.model import Prediction
from fcnjax.inference.request import Predictor

MOST_PIXELS, MOST_IMAGES = 2**21, 16  # of a batch
PENDING = 2  # batches that are labelled and not yet written

T = TypeVar("T")


def label_in_batches(
    predictor: Predictor,
    source: str,
    items: Iterable[T],
    pixels: Callable[[T], np.ndarray],
    write: Callable[[T, Prediction], None],
) -> None:
    """Labels images of one size in order; a thread reads the next, another writes the last.

    Args:
        predictor: What labels.
        source: The file that they are from, for errors.
        items: What is labelled; a thread takes them.
        pixels: The image `[H, W, C]` of an item.
        write: Called in order, in one thread.

    Raises:
        UserError: What `items` and `write` raise; or an image does not suit the model, or the
            device's memory.
    """
    items = iter(items)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        batch = reader.submit(lambda: list(itertools.islice(items, 1))).result()
        most = _most(pixels(batch[0])) if batch else 0
        if most > 1:
            batch += list(itertools.islice(items, most - 1))
        writing: deque[Future] = deque()

        def write_all(done: Sequence[tuple[T, Prediction]]) -> None:
            for one in done:
                write(*one)

        while batch:
            reading = reader.submit(lambda: list(itertools.islice(items, most)))
            found = _label(predictor, source, [pixels(item) for item in batch], most)
            writing.append(writer.submit(write_all, list(zip(batch, found, strict=True))))
            if len(writing) > PENDING:
                writing.popleft().result()
            batch = reading.result()
        for each in writing:
            each.result()


def _most(image: np.ndarray) -> int:
    """How many images of this size go at once: a power of two."""
    count = max(min(MOST_PIXELS // (image.shape[0] * image.shape[1]), MOST_IMAGES), 1)
    return 1 << (count.bit_length() - 1)


def _label(
    predictor: Predictor, source: str, images: list[np.ndarray], most: int
) -> list[Prediction]:
    """Labels as many at once as the device's memory takes, at most `most`."""
    # The last batch is filled, so that all are of one size and one program is compiled.
    padded = images + [images[-1]] * (most - len(images))
    try:
        with naming(source):
            return predictor.batch(padded)[: len(images)]
    except jax.errors.JaxRuntimeError as fault:
        if not is_out_of_memory(fault):
            raise
        if most == 1:
            raise UserError(too_large(source, images[0].shape[:2])) from fault
    half = most // 2
    parts = [images[start : start + half] for start in range(0, len(images), half)]
    return [found for part in parts for found in _label(predictor, source, part, half)]
