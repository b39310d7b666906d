"""Dynamic batching of images of different requests.

No image waits for a batch to fill: the images that arrive while the device works form the next
batch. New programs are compiled by a second worker, so that unusual sizes do not delay usual ones.
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
from fcnjax.serving.options import Options

Images = Sequence[np.ndarray]  # `[H, W, C]` each, converted for the model
SHUTDOWN_SECONDS = 5.0  # for a batch or a compilation that nobody waits for


class Program(NamedTuple):
    """The key of a compiled program.

    Attributes:
        canvas: Height and width of its images.
        dtype: Type of their pixels.
        rows: Number of images.
        padded: True if some images do not fill the canvas.
        probabilities: True if it also returns probabilities.
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
    probabilities: bool  # they take most of the memory, so they are computed only on request
    done: asyncio.Future


def _batch_size(count: int) -> int:
    """Return how many of `count` images to take, so that at most a quarter of a batch is padding.

    On a CPU, where a batch takes as long as its images one by one, padding costs time.
    """
    rows = 1 << (count - 1).bit_length()
    return count if 4 * count >= 3 * rows else rows // 2


class Batcher:
    """Predicts images in batches: `await batcher([image, ...])`.

    Args:
        model: The model.
        metrics: The counters to update.
        options: The options of the server.
    """

    def __init__(self, model: Model, metrics: Metrics, options: Options):
        self._model, self._metrics, self._options = model, metrics, options
        self._waiting: deque[_Job] = deque()
        # Each program has a model of its own; the least recently used comes first.
        self._programs: OrderedDict[Program, Model] = OrderedDict()
        self._changed = asyncio.Condition()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="device")
        self._workers: list[asyncio.Task] = []

    def start(self) -> None:
        """Start the workers; call it in the event loop."""
        self._workers = [asyncio.create_task(self._work(new)) for new in (False, True)]

    async def stop(self) -> bool:
        """Stop the workers and cancel waiting images; return like `shut_down`."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for job in self._waiting:
            job.done.cancel()
        return await shut_down(self._threads)

    async def __call__(self, images: Images, *, probabilities: bool) -> list[Prediction]:
        """Predict images, together with those of other requests.

        Args:
            images: The images.
            probabilities: True to also return probabilities.

        Raises:
            Busy: The queue has no room for them.
            Refused: An image does not fit into the device memory.
            UserError: An image is invalid for the model.
        """
        if len(self._waiting) + len(images) > self._options.queue:
            raise Busy("the queue is full")
        jobs = [
            _Job(image, self._model.canvas_size([image.shape[:2]]), probabilities, asyncio.Future())
            for image in images
        ]
        self._waiting.extend(jobs)
        await self._notify()
        try:
            return await asyncio.gather(*(job.done for job in jobs))
        finally:
            # If one failed, or the caller gave up, the others are not needed any more.
            for job in jobs:
                job.done.cancel()

    async def warm(self, size: tuple[int, int], channels: int) -> None:
        """Compile the programs for images of one size, for every batch size."""
        image = np.zeros((*size, channels), self._model.pixel_type or np.uint8)
        largest = self._largest_batch(self._model.canvas_size([size]))
        for rows in (1 << power for power in range(largest.bit_length())):
            for probabilities in (False, True):
                await self._predict([image] * rows, probabilities)

    async def _notify(self) -> None:
        self._metrics.waiting.set(len(self._waiting))
        async with self._changed:
            self._changed.notify_all()

    async def _work(self, new: bool) -> None:
        """Run batches of compiled programs, or with `new` those of programs to compile."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._next(new))
                jobs = self._next(new)
                for job in jobs:
                    self._waiting.remove(job)
            self._metrics.waiting.set(len(self._waiting))
            await self._run(jobs)
            await self._notify()

    def _next(self, new: bool) -> list[_Job]:
        """Return the next jobs for a worker, from the oldest bucket that has some; or none."""
        buckets: dict[tuple, list[_Job]] = {}
        for job in list(self._waiting):
            if job.done.done():  # its caller gave up
                self._waiting.remove(job)
            else:
                bucket = (job.canvas, str(job.image.dtype), job.probabilities)
                buckets.setdefault(bucket, []).append(job)
        for (canvas, *_), jobs in buckets.items():
            count = _batch_size(min(len(jobs), self._largest_batch(canvas)))
            while not (is_compiled := self._is_compiled(jobs[:count])) and not new and count > 1:
                # A smaller batch may have a program, while that of this size is being compiled.
                count = 1 << (count - 1).bit_length() - 1
            if is_compiled != new:
                return jobs[:count]
        return []

    def _largest_batch(self, canvas: tuple[int, int]) -> int:
        fitting = self._options.max_pixels // (canvas[0] * canvas[1])
        return max(1, min(self._options.batch, fitting))

    def _is_compiled(self, jobs: Sequence[_Job]) -> bool:
        program = self._program([job.image for job in jobs], jobs[0].probabilities)
        return program in self._programs

    def _program(self, images: Images, probabilities: bool) -> Program:
        canvas = self._model.canvas_size([image.shape[:2] for image in images])
        padded = any(image.shape[:2] != canvas for image in images)
        rows = 1 << (len(images) - 1).bit_length()
        return Program(canvas, str(images[0].dtype), rows, padded, probabilities)

    async def _run(self, jobs: Sequence[_Job]) -> None:
        images = [job.image for job in jobs]
        try:
            with self._metrics.batch(len(images)):
                results = await self._predict(images, jobs[0].probabilities)
        except Exception as error:
            results = [error] * len(jobs)
            if isinstance(error, jax.errors.JaxRuntimeError) and is_out_of_memory(error):
                if len(jobs) > 1:
                    for job in jobs:
                        await self._run([job])
                    return
                results = [Refused(413, out_of_memory_message("image", images[0].shape[:2]))]
        for job, result in zip(jobs, results, strict=True):
            if not job.done.done():
                is_error = isinstance(result, Exception)
                (job.done.set_exception if is_error else job.done.set_result)(result)

    async def _predict(self, images: Images, probabilities: bool) -> list[Prediction]:
        program = self._program(images, probabilities)
        compiled = self._programs.get(program)

        def run() -> tuple[Model, list[Prediction]]:
            model = compiled or self._model.compile(images, probabilities=probabilities)
            return model, model.batch(images, probabilities=probabilities)

        loop = asyncio.get_running_loop()
        model, predictions = await loop.run_in_executor(self._threads, run)
        self._programs[program] = model
        self._programs.move_to_end(program)
        if len(self._programs) > self._options.programs:
            self._programs.popitem(last=False)
            await loop.run_in_executor(self._threads, free_traces)
        self._metrics.programs.set(len(self._programs))
        return predictions


async def shut_down(threads: ThreadPoolExecutor) -> bool:
    """Stop threads; return False if one still works after `SHUTDOWN_SECONDS`."""
    stopper = threading.Thread(
        target=threads.shutdown, kwargs={"cancel_futures": True}, daemon=True
    )
    stopper.start()
    await asyncio.to_thread(stopper.join, SHUTDOWN_SECONDS)
    return not stopper.is_alive()
