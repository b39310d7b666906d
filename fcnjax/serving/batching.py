"""Joins images of different requests into batches of the device.

Nothing waits for a batch to fill: what comes while the device works goes together next. A program
that is not compiled yet is compiled beside, so that an unusual size does not hold up the usual.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from fcnjax.inference import Model, Prediction
from fcnjax.inference.errors import is_out_of_memory, out_of_memory_message
from fcnjax.serving.http.refusal import Busy, Refused
from fcnjax.serving.memory import free_traces
from fcnjax.serving.metrics import Metrics

END_SECONDS = 5.0  # for a batch or a compilation that nobody waits for any more


class Program(NamedTuple):
    """What a compiled program is for.

    Attributes:
        canvas: Height and width of its images.
        dtype: Of their pixels.
        rows: How many there are.
        padded: Whether some do not fill the canvas.
        probabilities: Whether it computes these too.
    """

    canvas: tuple[int, int]
    dtype: str
    rows: int
    padded: bool
    probabilities: bool


@dataclass(eq=False)
class _Job:
    image: np.ndarray
    canvas: tuple[int, int]
    probabilities: bool
    done: asyncio.Future

    @property
    def bucket(self) -> tuple:
        # Probabilities take most of the memory, so those who want none are not given any.
        return self.canvas, str(self.image.dtype), self.probabilities


def _worth(count: int) -> int:
    """How many of so many images to take: no more than a quarter of a batch is padding.

    On a CPU, where a batch takes as long as its images alone, padding is lost time.
    """
    rows = 1 << (count - 1).bit_length()
    return count if 4 * count >= 3 * rows else rows // 2


class Batcher:
    """Labels images: `await batcher([image, ...])`.

    Args:
        model: The model.
        metrics: Told of each batch.
        most: Images of a batch.
        pixels: Of a batch, padding included, unless a single image has more: what bounds the
            device's memory.
        queue: Images that may wait; more are refused.
        programs: Compiled programs that are kept; of more, the one that was used least recently is
            freed. So clients with ever new sizes cost time, but neither memory nor the programs of
            usual sizes.
    """

    def __init__(
        self, model: Model, metrics: Metrics, *, most: int, pixels: int, queue: int, programs: int
    ):
        self._model = model
        self._metrics = metrics
        self._most = most
        self._pixels = pixels
        self._queue = queue
        self._waiting: deque[_Job] = deque()
        self._most_programs = programs
        # Each program is of a model of its own, the least recently used first.
        self._programs: OrderedDict[Program, Model] = OrderedDict()
        self._changed = asyncio.Condition()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="device")
        self._workers: list[asyncio.Task] = []

    def start(self) -> None:
        """Starts to work; to be called in the event loop."""
        self._workers = [asyncio.create_task(self._work(new)) for new in (False, True)]

    async def stop(self) -> bool:
        """Ends the work; what still waits is not labelled. Returns as `ended` does."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for job in self._waiting:
            job.done.cancel()
        return await ended(self._threads)

    async def __call__(
        self, images: Sequence[np.ndarray], *, probabilities: bool
    ) -> list[Prediction]:
        """Labels images, together with those of other requests.

        Args:
            images: `[H, W, C]` each, as the model takes them.
            probabilities: Whether to return those too.

        Raises:
            Busy: The queue has no room for them.
            Refused: One does not fit the device's memory.
            UserError: One is no image of the model's.
        """
        if len(self._waiting) + len(images) > self._queue:
            raise Busy("the queue is full")
        loop = asyncio.get_running_loop()
        jobs = [
            _Job(
                image,
                self._model.canvas_size([image.shape[:2]]),
                probabilities,
                loop.create_future(),
            )
            for image in images
        ]
        self._waiting.extend(jobs)
        await self._tell()
        try:
            return await asyncio.gather(*(job.done for job in jobs))
        finally:
            # Where one failed, or the caller gave up, the others are not wanted any more.
            for job in jobs:
                job.done.cancel()

    async def warm(self, size: tuple[int, int], channels: int) -> None:
        """Compiles the programs for images of one size, in every number."""
        image = np.zeros((*size, channels), self._model.pixel_type or np.uint8)
        rows = 1
        while rows <= self._room(self._model.canvas_size([size])):
            for probabilities in (False, True):
                await self._label([image] * rows, probabilities)
            rows *= 2

    async def _tell(self) -> None:
        self._metrics.waiting.set(len(self._waiting))
        async with self._changed:
            self._changed.notify_all()

    async def _work(self, new: bool) -> None:
        """Runs one batch after another, of programs that are compiled, or of the others."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._next(new))
                jobs = self._next(new)
                for job in jobs:
                    self._waiting.remove(job)
            self._metrics.waiting.set(len(self._waiting))
            await self._run(jobs)
            await self._tell()

    def _next(self, new: bool) -> list[_Job]:
        """The jobs to run next, of the oldest bucket that has some for this worker; or none."""
        buckets: dict[tuple, list[_Job]] = {}
        for job in list(self._waiting):
            if job.done.done():  # its caller gave up
                self._waiting.remove(job)
            else:
                buckets.setdefault(job.bucket, []).append(job)
        for (canvas, *_), jobs in buckets.items():
            count = _worth(min(len(jobs), self._room(canvas)))
            known = self._of(jobs[:count]) in self._programs
            while not new and not known and count > 1:
                # Fewer may have a program, while another is compiled for so many.
                count = 1 << (count - 1).bit_length() - 1
                known = self._of(jobs[:count]) in self._programs
            if known != new:
                return jobs[:count]
        return []

    def _room(self, canvas: tuple[int, int]) -> int:
        return max(1, min(self._most, self._pixels // (canvas[0] * canvas[1])))

    def _of(self, jobs: Sequence[_Job]) -> Program:
        return self._program([job.image for job in jobs], jobs[0].probabilities)

    def _program(self, images: Sequence[np.ndarray], probabilities: bool) -> Program:
        canvas = self._model.canvas_size([image.shape[:2] for image in images])
        padded = any(image.shape[:2] != canvas for image in images)
        rows = 1 << (len(images) - 1).bit_length()
        return Program(canvas, str(images[0].dtype), rows, padded, probabilities)

    async def _run(self, jobs: Sequence[_Job]) -> None:
        images = [job.image for job in jobs]
        try:
            with self._metrics.batch(len(images)):
                found = await self._label(images, jobs[0].probabilities)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                self._end(jobs, error)
            elif len(jobs) == 1:
                self._end(jobs, Refused(413, out_of_memory_message("image", images[0].shape[:2])))
            else:
                for job in jobs:
                    await self._run([job])
        except Exception as error:
            self._end(jobs, error)
        else:
            for job, prediction in zip(jobs, found, strict=True):
                if not job.done.done():
                    job.done.set_result(prediction)

    def _end(self, jobs: Sequence[_Job], error: Exception) -> None:
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(error)

    async def _label(self, images: Sequence[np.ndarray], probabilities: bool) -> list[Prediction]:
        program = self._program(images, probabilities)
        known = self._programs.get(program)

        def run() -> tuple[Model, list[Prediction]]:
            model = known or self._model.compile(images, probabilities=probabilities)
            return model, model.batch(images, probabilities=probabilities)

        loop = asyncio.get_running_loop()
        model, found = await loop.run_in_executor(self._threads, run)
        self._programs[program] = model
        self._programs.move_to_end(program)
        if len(self._programs) > self._most_programs:
            self._programs.popitem(last=False)
            await loop.run_in_executor(self._threads, free_traces)
        self._metrics.programs.set(len(self._programs))
        return found


async def ended(threads: ThreadPoolExecutor) -> bool:
    """Ends threads; returns False where one still works after `END_SECONDS`."""
    end = threading.Thread(target=threads.shutdown, kwargs={"cancel_futures": True}, daemon=True)
    end.start()
    await asyncio.to_thread(end.join, END_SECONDS)
    return not end.is_alive()
