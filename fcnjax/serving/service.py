"""The service behind the routes: model, batcher, threads, limits and counters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from fcnjax.config import channel_names
from fcnjax.inference import Model
from fcnjax.serving.batching import Batcher, shut_down
from fcnjax.serving.http.bodies import Budget
from fcnjax.serving.http.refusal import Busy
from fcnjax.serving.metrics import Metrics
from fcnjax.serving.options import Options

T = TypeVar("T")

# Bytes per pixel of the canvas, besides image and probabilities: the mask on the device and in the
# response, the overlay, and the file of the response.
RESULT_BYTES = 16


class Service:
    """A model that serves requests.

    Args:
        model: The model.
        options: The options.

    Attributes:
        channels: Number of channels of its images.
        budget: The bytes that requests hold.
        batcher: Predicts images of all requests in batches.
        ready: True once the programs of `options.warm` are compiled.
        stopped: True if no thread works any more, after `stop`.
        fault: The error of compiling them, or None.
    """

    def __init__(self, model: Model, options: Options):
        self.model = model
        self.options = options
        self.channels = len(channel_names(model.config.data.channels))
        self.metrics = Metrics()
        self.budget = Budget(options.max_total_bytes)
        self.metrics.held.set_function(lambda: self.budget.held)
        self.ready = self.stopped = False
        self.fault: Exception | None = None
        self.batcher = Batcher(model, self.metrics, options)
        # For decoding and encoding, apart from the device threads, which must never wait for them.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="images")
        self._warming: asyncio.Task | None = None

    async def start(self) -> None:
        """Start the workers and warm up; call it in the event loop."""
        self.batcher.start()
        self._warming = asyncio.create_task(self._warm())

    async def stop(self) -> None:
        """Stop the workers, once no request is left."""
        self._warming.cancel()
        await asyncio.gather(self._warming, return_exceptions=True)
        self.stopped = all([await self.batcher.stop(), await shut_down(self._threads)])

    async def _warm(self) -> None:
        try:
            for size in self.options.warm:
                await self.batcher.warm(size, self.channels)
        except Exception as error:
            self.fault = error
        else:
            self.ready = True
            self.metrics.ready.set(1)

    async def read(self, batch: np.ndarray) -> np.ndarray:
        """Convert the images `[B, H, W, C]` of a request for the model (`Model.read`).

        They are one array, so that all or none of them are taken as 0..1. They are converted before
        they are queued, so that an error does not fail other requests in their batch.

        Raises:
            UserError: The model does not take such pixels.
        """
        rows = batch.reshape(-1, *batch.shape[2:])
        return (await self.in_thread(self.model.read, rows)).reshape(batch.shape)

    def prediction_bytes(self, size: Sequence[int], probabilities: bool) -> int:
        """Return the bytes that an image of a height and width holds until it is answered."""
        height, width = self.model.canvas_size([tuple(size)])
        pixel = 2 * self.channels * np.dtype(self.model.pixel_type or np.float32).itemsize
        if probabilities:  # on the device and in the response
            pixel += 2 * 4 * len(self.model.class_names)
        return height * width * (pixel + RESULT_BYTES)

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """Limit the time spent in the block.

        Raises:
            Busy: It took longer than `options.answer_seconds`.
        """
        seconds = self.options.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise Busy(f"the images were not labelled within {seconds:g} s") from error

    async def in_thread(self, function: Callable[..., T], *args: object) -> T:
        """Call a slow function outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
