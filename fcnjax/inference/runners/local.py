"""Labels a row of images: the next are read, and outputs written, while the device works."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.errors import is_out_of_memory, naming, too_large
from fcnjax.inference.inputs.fetch import as_file
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.outputs.table import PredictedImage, write_outputs
from fcnjax.inference.request import Predictor

READERS = 2  # images that are read ahead
WRITERS = 2


class Item(NamedTuple):
    """An image to label.

    Attributes:
        index: Its place in the listing.
        id: The first part of its outputs' names; may have folders.
        source: A path or a URI; the record's name where `content` holds the file.
        content: The bytes of the image file, or None: `source` is read.
        error: Why there is nothing to read, if so.
    """

    index: int
    id: str
    source: str
    content: bytes | None = None
    error: str | None = None


class Outcome(NamedTuple):
    """What became of an image.

    Attributes:
        item: The image.
        size: Height and width in pixels; None where it was not labelled.
        mask: The mask's file, below the folder of outputs; None where there is none.
        error: Why it was not, a line; None where it was.
        seconds: That reading, labelling and writing it took, waits left out.
    """

    item: Item
    size: tuple[int, int] | None
    mask: str | None
    error: str | None
    seconds: float


def predict_images(predictor: Predictor, items: Iterable[Item], out: str) -> Iterator[Outcome]:
    """Labels images and writes the outputs that are asked for, in order.

    Args:
        predictor: What labels, and knows which outputs.
        items: The images; a few are taken ahead.
        out: The folder that the outputs go to.

    Yields:
        An outcome for each image, once its files are there. An image that cannot be read, or that
        does not suit the model or the device's memory, has an error, and no files.

    Raises:
        UserError: A file cannot be written.
    """
    items = iter(items)
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(WRITERS) as writers:
        reading: deque[tuple[Item, Future]] = deque()
        writing: deque[Future] = deque()

        def read_ahead() -> None:
            while len(reading) < READERS and (item := next(items, None)) is not None:
                reading.append((item, readers.submit(_read, item, predictor)))

        read_ahead()
        while reading:
            item, job = reading.popleft()
            image, error, seconds = job.result()
            read_ahead()
            start = time.perf_counter()
            prediction = None
            if error is None:
                try:
                    with naming(item.source):
                        prediction = predictor(image)
                except UserError as fault:
                    error = str(fault)
                except jax.errors.JaxRuntimeError as fault:
                    if not is_out_of_memory(fault):
                        raise
                    error = too_large(item.source, image.shape[:2])
            seconds += time.perf_counter() - start
            write = (predictor, item, image, prediction, error, seconds, out)
            writing.append(writers.submit(_write, *write))
            if len(writing) > WRITERS:
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()


def _read(item: Item, predictor: Predictor) -> tuple[np.ndarray | None, str | None, float]:
    start = time.perf_counter()
    image, error = None, item.error
    if error is None:
        try:
            image = predictor.model.read(as_file(item.source, item.content))
        except UserError as fault:
            error = str(fault)
    return image, error, time.perf_counter() - start


def _write(predictor, item, image, prediction, error, seconds, out) -> Outcome:
    if error is not None:
        return Outcome(item, None, None, error, seconds)
    start = time.perf_counter()
    outputs, model = predictor.request.outputs, predictor.model
    labelled = PredictedImage(item.source, image, prediction, model.palette, model.class_names)
    write_outputs(out, item.id, labelled, outputs)
    mask = f"{item.id}{ENDINGS['mask']}" if "mask" in outputs else None
    return Outcome(item, image.shape[:2], mask, None, seconds + time.perf_counter() - start)
