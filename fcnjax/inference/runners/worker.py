"""Worker of `fcnjax predict --runner=ray`, independent of Ray."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnjax.data.readers.limits import VARIABLE
from fcnjax.errors import UserError
from fcnjax.inference.items import InputItem, ItemResult, failed
from fcnjax.inference.outputs.journal import Journal, read_session
from fcnjax.inference.request import Request
from fcnjax.inference.runners.local import predict_images

MAX_CRASHES = 2  # of processes during an image, before the image is given up


@dataclass(frozen=True)
class Job:
    """Task of a worker, the same for every image.

    Attributes:
        request: The request. Workdirs are absolute or `hf://OWNER/REPO`, the same on all machines.
        out: Absolute path of the output folder.
        session: Id of this start of the run.
        max_pixels: Limit on the pixels of an image in the driver's environment, or None.
    """

    request: Request
    out: str
    session: str
    max_pixels: str | None


class PredictionWorker:
    """A loaded model that predicts the images of one table after another.

    Args:
        job: The task.
    """

    def __init__(self, job: Job):
        self._job = job
        self._fatal = ""
        if job.max_pixels is not None:
            os.environ[VARIABLE] = job.max_pixels
        # Not empty if this process replaces one that died.
        self._begun, self._done = read_session(Path(job.out), job.session)
        # Errors are returned, since Ray would restart an actor that fails to start forever.
        try:
            self._journal = Journal(job.out, job.session)
            self._predictor = job.request.load()
        except UserError as error:
            self._fatal = str(error)

    def __call__(self, table: Any) -> dict[str, list]:
        """Predict the images of a pyarrow table with the columns of `InputItem`.

        Returns:
            The number of images `predicted` and `failed`, and `fatal`, the error that ends the run,
            or "".
        """
        predicted = failures = 0
        if not self._fatal:
            try:
                for ok in self._predict(_items(table)):
                    predicted, failures = predicted + ok, failures + (not ok)
            except UserError as error:
                self._fatal = str(error)
        return {"predicted": [predicted], "failed": [failures], "fatal": [self._fatal]}

    def _predict(self, items: Iterable[InputItem]) -> Iterator[bool]:
        """Predict images unless an earlier process did; yield whether each succeeded."""
        remaining = []
        for item in items:
            if item.index in self._done:
                yield self._done[item.index]
            elif item.index not in self._begun:
                remaining.append(item)
            elif self._begun[item.index] < MAX_CRASHES:
                # One at a time, to know which image it is if this process dies too.
                yield from self._predict_now([item])
            else:
                reason = f"given up: the process that read it died, {MAX_CRASHES}x"
                yield self._record(failed(item, f"{item.source}: {reason}"))
        yield from self._predict_now(remaining)

    def _predict_now(self, items: Iterable[InputItem]) -> Iterator[bool]:
        def begun() -> Iterator[InputItem]:
            for item in items:
                self._journal.begin(item.index)
                yield item

        for result in predict_images(self._predictor, begun(), self._job.out):
            yield self._record(result)

    def _record(self, result: ItemResult) -> bool:
        self._journal.end(result)
        return result.error is None


def _items(table: Any) -> Iterator[InputItem]:
    for row in table.to_pylist():
        # File names need not be UTF-8, so they travel as bytes.
        yield InputItem(**{**row, "source": os.fsdecode(row["source"])})
