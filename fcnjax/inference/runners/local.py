"""Prediction of many images, with reading and writing in threads."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.errors import errors_named, is_out_of_memory, out_of_memory_message
from fcnjax.inference.inputs.fetch import as_file
from fcnjax.inference.items import InputItem, ItemResult, failed
from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.image_writers import PredictedImage, write_outputs
from fcnjax.inference.request import Predictor
from fcnjax.io.prefetch import prefetch

READERS = 2  # threads, and images that are read ahead
WRITERS = 2  # threads, and images that wait to be written


class _Job(NamedTuple):
    """An image on its way through reading and prediction."""

    item: InputItem
    image: np.ndarray | None
    prediction: Prediction | None
    error: str | None
    seconds: float


def predict_images(
    predictor: Predictor, items: Iterable[InputItem], out: str
) -> Iterator[ItemResult]:
    """Predict images in order and write the requested outputs.

    Args:
        predictor: The predictor.
        items: The images, of which a few are drawn ahead.
        out: The output folder.

    Yields:
        A result for each image, once its files are written. An image that cannot be read, or does
        not suit the model or the device's memory, has an error and no files.

    Raises:
        UserError: A file cannot be written.
    """

    def read(item: InputItem) -> _Job:
        start = time.perf_counter()
        image, error = None, item.error
        if error is None:
            try:
                image = predictor.model.read(as_file(item.source, item.content))
            except UserError as exception:
                error = str(exception)
        return _Job(item, image, None, error, time.perf_counter() - start)

    def write(job: _Job) -> ItemResult:
        if job.error is not None:
            return failed(job.item, job.error, job.seconds)
        start = time.perf_counter()
        model = predictor.model
        predicted = PredictedImage(
            job.item.source, job.image, job.prediction, model.palette, model.class_names
        )
        mask = write_outputs(out, job.item.id, predicted, predictor.request.outputs)
        seconds = job.seconds + time.perf_counter() - start
        return ItemResult(job.item, job.image.shape[:2], mask, None, seconds)

    jobs = prefetch(read, items, threads=READERS, ahead=READERS)
    predicted = (_predict(predictor, job) for job in jobs)
    yield from prefetch(write, predicted, threads=WRITERS, ahead=WRITERS)


def _predict(predictor: Predictor, job: _Job) -> _Job:
    if job.error is not None:
        return job
    start = time.perf_counter()
    prediction = error = None
    try:
        with errors_named(job.item.source):
            prediction = predictor(job.image)
    except UserError as exception:
        error = str(exception)
    except jax.errors.JaxRuntimeError as exception:
        if not is_out_of_memory(exception):
            raise
        error = out_of_memory_message(job.item.source, job.image.shape[:2])
    seconds = job.seconds + time.perf_counter() - start
    return job._replace(prediction=prediction, error=error, seconds=seconds)
