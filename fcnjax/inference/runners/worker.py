"""What a worker of `fcnjax predict --runner=ray` does; knows nothing of Ray."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnjax.data.readers.limits import VARIABLE
from fcnjax.errors import UserError
from fcnjax.inference.outputs.manifest import Journal, begun_and_done
from fcnjax.inference.request import Request
from fcnjax.inference.runners.local import Item, Outcome, predict_images

MOST_DEATHS = 2  # of processes that an image may cause before it is given up


@dataclass(frozen=True)
class Job:
    """What is done to every image.

    Attributes:
        request: What is asked; workdirs absolute or `hf://OWNER/REPO`, on every machine the same.
        out: The folder that outputs go to, absolute.
        session: The start of the run that this is.
        most_pixels: The limit that the driver's environment sets, or None.
    """

    request: Request
    out: str
    session: str
    most_pixels: str | None


class Labeller:
    """A model that stays loaded, and labels the images of one table after another.

    Args:
        job: What is done to each.
    """

    def __init__(self, job: Job):
        self._job = job
        self._fatal = ""
        if job.most_pixels is not None:
            os.environ[VARIABLE] = job.most_pixels
        # Some, where this process stands for one that died.
        self._begun, self._done = begun_and_done(Path(job.out), job.session)
        # An error is returned, since Ray would start an actor that failed to start again and again.
        try:
            self._journal = Journal(job.out, job.session)
            self._predictor = job.request.load()
        except UserError as error:
            self._fatal = str(error)

    def __call__(self, table: Any) -> dict[str, list]:
        """Labels the images of a pyarrow table with the columns of `Item`, `source` as bytes.

        Returns:
            How many were `labelled`, how many `failed`, and the error that ends the run, `fatal`,
            or "".
        """
        labelled = failed = 0
        if not self._fatal:
            try:
                for ok in self._label(_items(table)):
                    labelled, failed = labelled + ok, failed + (not ok)
            except UserError as error:
                self._fatal = str(error)
        return {"labelled": [labelled], "failed": [failed], "fatal": [self._fatal]}

    def _label(self, items: Iterable[Item]) -> Iterator[bool]:
        fresh = []
        for item in items:
            if item.index in self._done:
                yield self._done[item.index]
            elif item.index not in self._begun:
                fresh.append(item)
            elif self._begun[item.index] < MOST_DEATHS:
                # Alone, so that it is known which one it is if this process dies too.
                yield from self._label_now([item])
            else:
                words = f"{item.source}: given up: the process that read it died, {MOST_DEATHS}x"
                yield self._end(Outcome(item, None, None, words, 0.0))
        yield from self._label_now(fresh)

    def _label_now(self, items: Iterable[Item]) -> Iterator[bool]:
        def noted() -> Iterator[Item]:
            for item in items:
                self._journal.begin(item.index)
                yield item

        for outcome in predict_images(self._predictor, noted(), self._job.out):
            yield self._end(outcome)

    def _end(self, outcome: Outcome) -> bool:
        self._journal.end(outcome)
        return outcome.error is None


def _items(table: Any) -> Iterator[Item]:
    for row in table.to_pylist():
        yield Item(**{**row, "source": os.fsdecode(row["source"])})
