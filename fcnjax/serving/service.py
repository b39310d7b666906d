"""What every route of the server uses: the model behind its batcher, threads, limits, counters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fcnjax.config import channel_names
from fcnjax.inference import Model, Prediction
from fcnjax.serving.batching import Batcher, ended
from fcnjax.serving.http.bodies import Budget
from fcnjax.serving.http.refusal import Busy
from fcnjax.serving.metrics import Metrics
from fcnjax.serving.open_inference import Limits

T = TypeVar("T")

# Bytes a pixel of the canvas, beside the image and its probabilities: the mask as the device has it
# and as it is answered, the overlay, and the answer's file.
RESULT_BYTES = 16


@dataclass(frozen=True)
class Options:
    """How a model is served.

    Attributes:
        batch: Images that go to the device together, at most.
        queue: Images that may wait, over all requests; more are refused.
        programs: Compiled programs that are kept.
        max_bytes: Of a request's body.
        max_total_bytes: That all requests together may hold: bodies, JSON values, images,
            probabilities and answers. A batch on the device is beyond that.
        max_pixels: Of an image.
        receive_seconds: For a request to arrive.
        answer_seconds: For its images to be labelled, from then on.
        warm: Heights and widths whose programs are compiled at the start.
        allowed_hosts: Names in lower case that requests may be for, besides loopback names and
            addresses; None: any name. Requests are then also answered for pages of any origin.
    """

    batch: int = 8
    queue: int = 64
    programs: int = 64
    max_bytes: int = 64 * 2**20
    max_total_bytes: int = 2 * 2**30
    max_pixels: int = 16 * 2**20
    receive_seconds: float = 30.0
    answer_seconds: float = 60.0
    warm: tuple[tuple[int, int], ...] = ()
    allowed_hosts: tuple[str, ...] | None = None


class Service:
    """A model that answers.

    Args:
        model: The model.
        options: How it is served.

    Attributes:
        channels: Of its images.
        budget: The bytes that requests hold.
        limits: What a request may ask for.
        ready: Whether the programs of `options.warm` are there.
        ended: Whether no thread works any more, after `stop`.
        fault: What went wrong as they were compiled, if so.
    """

    def __init__(self, model: Model, options: Options):
        self.model = model
        self.options = options
        self.channels = len(channel_names(model.config.data.channels))
        self.metrics = Metrics()
        self.budget = Budget(options.max_total_bytes)
        self.metrics.held.set_function(lambda: self.budget.held)
        self.limits = Limits(options.queue, options.max_pixels)
        self.ready = False
        self.ended = False
        self.fault: Exception | None = None
        self._batcher = Batcher(
            model,
            self.metrics,
            most=options.batch,
            pixels=options.max_pixels,
            queue=options.queue,
            programs=options.programs,
        )
        # Decoding and encoding; apart from the device's threads, which are never to wait for it.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="images")
        self._warming: asyncio.Task | None = None

    async def start(self) -> None:
        """Starts to work and to warm up; to be called in the event loop."""
        self._batcher.start()
        self._warming = asyncio.create_task(self._warm())

    async def stop(self) -> None:
        """Ends the work, once no request is left."""
        self._warming.cancel()
        await asyncio.gather(self._warming, return_exceptions=True)
        stopped = [await self._batcher.stop(), await ended(self._threads)]
        self.ended = all(stopped)

    async def _warm(self) -> None:
        try:
            for size in self.options.warm:
                await self._batcher.warm(size, self.channels)
        except Exception as error:
            self.fault = error
        else:
            self.ready = True
            self.metrics.ready.set(1)

    async def read(self, batch: np.ndarray) -> np.ndarray:
        """The images `[B, H, W, C]` of a request as the model takes them (`Model.read`).

        They are one array, which is in 0..1 as a whole or not at all. They are read before they are
        queued, so that no other request in their batch fails with them.

        Raises:
            UserError: The model does not take such pixels.
        """
        rows = batch.reshape(-1, *batch.shape[2:])
        return (await self.in_thread(self.model.read, rows)).reshape(batch.shape)

    def label_bytes(self, size: Sequence[int], probabilities: bool) -> int:
        """Returns the bytes that an image of a height and width takes until it is answered."""
        height, width = self.model.canvas_size([tuple(size)])
        pixel = 2 * self.channels * np.dtype(self.model.pixel_type or np.float32).itemsize
        if probabilities:  # as the device has them, and as they are answered
            pixel += 2 * 4 * len(self.model.class_names)
        return height * width * (pixel + RESULT_BYTES)

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """Bounds the time in the block.

        Raises:
            Busy: It took longer than `options.answer_seconds`.
        """
        seconds = self.options.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise Busy(f"the images were not labelled within {seconds:g} s") from error

    async def label(self, images: Sequence[np.ndarray], *, probabilities: bool) -> list[Prediction]:
        """Labels images `[H, W, C]`, as `Batcher` does.

        Raises:
            Busy: There is no room in the queue.
        """
        return await self._batcher(images, probabilities=probabilities)

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Calls a function that takes a while, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
