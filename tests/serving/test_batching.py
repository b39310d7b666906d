"""Images of different requests go to the device together; a full queue is refused."""

import asyncio
import copy
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from fcnjax.inference import Prediction
from fcnjax.serving.batching import Batcher, shut_down
from fcnjax.serving.http.refusal import Busy, Refused
from fcnjax.serving.metrics import Metrics
from fcnjax.serving.options import Options


class Painter:
    """A fast stand-in for a model: class 1 where red is above 127. Records its batches.

    Attributes:
        batches: The sizes of the images of each.
        go: Cleared, a batch waits for it.
        copies: Weak references to the models that were made for a program each.
    """

    pixel_type = "uint8"

    def __init__(self):
        self.batches, self.copies = [], []
        self.go = threading.Event()
        self.go.set()

    def canvas_size(self, sizes):
        return tuple(-(-max(sides) // 16) * 16 for sides in zip(*sizes, strict=True))

    def compile(self, images, *, probabilities):
        model = copy.copy(self)
        self.copies.append(weakref.ref(model))
        return model

    def batch(self, images, *, probabilities):
        assert len({str(image.dtype) for image in images}) == 1
        self.batches.append([image.shape[:2] for image in images])
        assert self.go.wait(30)
        masks = [(image[..., 0] > 127).astype(np.uint8) for image in images]
        return [
            Prediction(mask, np.eye(2, dtype=np.float32)[mask] if probabilities else None)
            for mask in masks
        ]


def run(model, function, **options):
    """Runs `function(batcher)` with a batcher of the model."""
    options = Options(**{"batch": 4, "max_pixels": 10**6, "queue": 16, **options})

    async def main():
        batcher = Batcher(model, Metrics(), options)
        batcher.start()
        try:
            return await asyncio.wait_for(function(batcher), 60)
        finally:
            await batcher.stop()

    return asyncio.run(main())


def pictures(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


async def busy(batcher, model, image):
    """Has both workers at work, each with a batch; returns its tasks."""
    await batcher([image], probabilities=False)  # from here on a program that is known
    model.go.clear()
    large = np.zeros((100, 100, 3), np.uint8)
    before = len(model.batches)
    tasks = [asyncio.ensure_future(batcher([x], probabilities=False)) for x in (image, large)]
    while len(model.batches) < before + 2:
        await asyncio.sleep(0.001)
    return tasks


def test_images_that_arrive_during_a_batch_form_the_next():
    model = Painter()
    images = pictures((45, 53), (40, 50), (48, 64), (41, 60), (33, 49), (45, 53), (17, 17))
    wanting = (2, 4)  # probabilities

    async def requests(batcher):
        for probabilities in (False, True):  # from here on no program is new
            await batcher(images, probabilities=probabilities)
        first = await busy(batcher, model, images[0])
        del model.batches[:]
        tasks = [
            asyncio.ensure_future(batcher([image], probabilities=i in wanting))
            for i, image in enumerate(images)
        ]
        await asyncio.sleep(0.05)
        model.go.set()
        await asyncio.gather(*first)
        return [found for (found,) in await asyncio.gather(*tasks)]

    found = run(model, requests)
    # Four of the bucket 48x64, whatever their sizes, without those that want probabilities; two of
    # it that want them; one of another bucket.
    sizes = [image.shape[:2] for image in images]
    usual = [sizes[i] for i in (0, 1, 3, 5)]
    assert sorted(model.batches, key=len) == [sizes[6:], [sizes[i] for i in wanting], usual]
    for i, (image, prediction) in enumerate(zip(images, found, strict=True)):
        assert (prediction.mask == (image[..., 0] > 127)).all()
        assert (prediction.probabilities is not None) == (i in wanting)


def test_at_most_a_quarter_of_a_batch_is_padding():
    model = Painter()

    async def requests(batcher):
        for count in (3, 5, 6, 7, 8):
            await batcher(pictures(*[(45, 53)] * count), probabilities=False)

    async def known(batcher):
        await requests(batcher)
        del model.batches[:]
        await requests(batcher)

    run(model, known, batch=8)
    assert sorted(map(len, model.batches)) == [1, 3, 4, 6, 7, 8]


def test_batch_pixels_are_limited():
    model = Painter()
    images = pictures(*[(45, 53)] * 4)

    async def request(batcher):
        return await batcher(images, probabilities=False)

    assert len(run(model, request, max_pixels=2 * 48 * 64)) == 4
    assert [len(batch) for batch in model.batches] == [2, 2]


def test_new_sizes_do_not_delay_known_ones():
    image, compiled = pictures((45, 53))[0], threading.Event()

    class Compiling(Painter):
        def batch(self, images, *, probabilities):
            if images[0].shape[0] == 100:
                assert compiled.wait(30)
            return super().batch(images, probabilities=probabilities)

    async def requests(batcher):
        await batcher([image], probabilities=False)
        new = asyncio.ensure_future(batcher([np.zeros((100, 9, 3), np.uint8)], probabilities=False))
        for _ in range(3):
            await batcher([image], probabilities=False)
        assert not new.done()
        compiled.set()
        await new

    run(Compiling(), requests)


def test_full_queue_is_refused_and_cancelled_jobs_are_dropped():
    model, image = Painter(), pictures((45, 53))[0]

    async def requests(batcher):
        first = await busy(batcher, model, image)
        tasks = [asyncio.ensure_future(batcher([image], probabilities=False)) for _ in range(3)]
        await asyncio.sleep(0.02)
        with pytest.raises(Busy, match="the queue is full; try again in 1 s"):
            await batcher([image] * 2, probabilities=False)
        tasks[0].cancel()
        tasks.append(asyncio.ensure_future(batcher([image], probabilities=False)))
        await asyncio.sleep(0.02)
        model.go.set()
        await asyncio.gather(*first, *tasks[1:])

    run(model, requests, queue=4)
    assert sum(map(len, model.batches)) == 1 + 2 + 3


def test_only_the_image_without_memory_fails():
    class Small(Painter):
        def batch(self, images, *, probabilities):
            if any(image.max() == 7 for image in images):
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return super().batch(images, probabilities=probabilities)

    small = Small()
    good, bad = pictures((45, 53))[0], np.full((45, 53, 3), 7, np.uint8)

    async def requests(batcher):
        one, two = (batcher([x], probabilities=False) for x in (good, bad))
        return await asyncio.gather(one, two, return_exceptions=True)

    found, error = run(small, requests)
    assert found[0].mask.shape == (45, 53)
    assert isinstance(error, Refused)
    assert (error.status_code, "does not fit the device's memory" in error.detail) == (413, True)


def test_least_recently_used_programs_are_freed():
    model = Painter()

    async def requests(batcher):
        for width in (16, 32, 48, 64, 80, 96):
            await batcher(pictures((16, 16)), probabilities=False)  # the usual one
            await batcher(pictures((16, width)), probabilities=False)
        alive = [reference() is not None for reference in model.copies]
        assert alive == [True, False, False, False, True, True]
        return {program.canvas for program in batcher._programs}

    assert run(model, requests, programs=3) == {(16, 16), (16, 80), (16, 96)}


def test_warm_compiles_all_programs(model):
    async def requests(batcher):
        await batcher.warm((45, 53), 3)
        return {(program.rows, program.probabilities) for program in batcher._programs}

    assert run(model, requests, batch=2) == {(n, p) for n in (1, 2) for p in (False, True)}


def test_hanging_threads_are_abandoned(monkeypatch):
    monkeypatch.setattr("fcnjax.serving.batching.SHUTDOWN_SECONDS", 0.05)
    go, pool, idle = threading.Event(), ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    pool.submit(go.wait, 30)
    try:
        assert not asyncio.run(shut_down(pool))
        assert asyncio.run(shut_down(idle))
    finally:
        go.set()
        pool.shutdown()
