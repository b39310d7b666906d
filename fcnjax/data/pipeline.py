"""From a source to batches on the host. The only file that imports Grain.

Which example comes when, and how it is cropped, are functions of `(seed, k)`, where `k` counts the
examples of the whole run: resuming is starting at another `k`, and neither workers nor processes
change what the k-th example is.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from fcnjax.data.source import Source
from fcnjax.errors import UserError

READ_THREADS = 4  # a process; decoding frees the interpreter's lock


def canvas_size(augment: ConfigDict) -> tuple[int, int]:
    """Height and width that hold a centred crop however it is turned and scaled.

    Each differs from the crop's by an even number, so that the centre is the same.
    """
    height, width = augment.crop
    turn = math.radians(min(augment.rotation, 90.0))
    if augment.scale == (1.0, 1.0) and not turn:
        return height, width

    def reach(along: int, across: int) -> int:
        # |along cos t| + |across sin t| is greatest at tan t = across / along.
        t = min(turn, math.atan2(across, along))
        need = (along * math.cos(t) + across * math.sin(t)) / augment.scale[0] + 2
        return along + 2 * max(math.ceil((need - along) / 2), 0)

    return reach(height, width), reach(width, height)


def pad_to(image: np.ndarray, canvas: tuple[int, int], fill: int | float) -> np.ndarray:
    """Extends `[H, W, ...]` downwards and to the right to the canvas's height and width."""
    if image.shape[:2] == tuple(canvas):
        return image
    padded = np.full((*canvas, *image.shape[2:]), fill, image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded


def bucket_canvas(size: tuple[int, int], bucket: int) -> tuple[int, int]:
    """A height and width rounded up to multiples of `bucket`: few sizes, few compilations."""
    return tuple(-(-side // bucket) * bucket for side in size)


class _Order:
    """The row of the source at global position k: a new shuffle each epoch."""

    def __init__(self, length: int, seed: int):
        self._rows = grain.MapDataset.range(length).seed(seed).shuffle().repeat()

    def __getitem__(self, k: int) -> int:
        return int(self._rows[k])


class _Examples:
    """The example at global position k, cropped to the canvas at a random place."""

    def __init__(self, source: Source, config: ConfigDict):
        self._source = source
        self._order = _Order(len(source), config.train.seed)
        self._seed = config.train.seed
        self._crop = tuple(config.augment.crop)
        self._canvas = canvas_size(config.augment)
        self._mean = np.asarray(config.data.mean)
        self._ignore = config.data.ignore_label

    def __call__(self, k: int) -> dict[str, np.ndarray]:
        example = self._source[self._order[k]]
        image, label = example["image"], example["label"]
        rng = np.random.default_rng((self._seed, k))
        corner = []
        for length, crop, canvas in zip(label.shape, self._crop, self._canvas, strict=True):
            room = length - crop
            start = int(rng.integers(room + 1)) if room >= 0 else room // 2
            # The crop's corner is drawn; the canvas has the crop at its centre.
            corner.append(start - (canvas - crop) // 2)
        fill = np.round(self._mean * np.iinfo(image.dtype).max).astype(image.dtype)
        return {
            "image": _window(image, corner, self._canvas, fill),
            "label": _window(label, corner, self._canvas, self._ignore),
            "valid": np.True_,
        }


def _window(array: np.ndarray, corner: list[int], canvas: tuple[int, int], fill: Any) -> np.ndarray:
    """Cuts a window out of `[H, W, ...]`; where it hangs over, it holds `fill`."""
    window = np.empty((*canvas, *array.shape[2:]), array.dtype)
    window[:] = fill
    source, target = [], []
    for start, length, side in zip(corner, canvas, array.shape, strict=False):
        low, high = max(start, 0), min(start + length, side)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - start, max(high, low) - start))
    window[tuple(target)] = array[tuple(source)]
    return window


def _positions(batch_size: int, start: int, index: int, count: int) -> "grain.MapDataset[int]":
    """The global positions that one of `count` processes reads, from global batch `start` on.

    Each takes a contiguous part of every global batch, so that the batch does not depend on count.
    """
    own = batch_size // count
    if own * count != batch_size:
        raise UserError(
            f"config.train.batch_size: {batch_size} does not divide over {count} processes"
        )
    return grain.MapDataset.range(start * own, np.iinfo(np.int64).max // 2).map(
        lambda j: (j // own) * batch_size + index * own + j % own
    )


def train_batches(
    source: Source,
    config: ConfigDict,
    start: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's part of the training batches for ever, from global batch `start` on.

    A batch of b examples holds `image` `[b, H, W, C]` as stored, `label` `[b, H, W]` and `valid`
    `[b]`, where H and W are `canvas_size`. Close the iterator to end its workers.

    Raises:
        UserError: A file cannot be read, also where a worker read it.
    """
    positions = _positions(config.train.batch_size, start, process_index, process_count)
    own = config.train.batch_size // process_count
    batches = positions.map(_Examples(source, config)).batch(own)
    threads = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_THREADS)
    stream = batches.to_iter_dataset(threads)
    if config.data.workers > 0:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers ask for flags that nobody parsed
        options = grain.MultiprocessingOptions(num_workers=config.data.workers)
        stream = stream.mp_prefetch(options, worker_init_fn=_start_worker)
    iterator = iter(stream)
    try:
        while True:
            yield next(iterator)
    finally:
        iterator.close()


def _start_worker(index: int, count: int) -> None:
    """Makes a worker leave Ctrl-C to its parent, and end when the parent is killed."""
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def index_batches(
    length: int,
    config: ConfigDict,
    start: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields `row` `[b]` int32 and `valid` `[b]`: the order of `train_batches`, without reading."""
    positions = _positions(config.train.batch_size, start, process_index, process_count)
    own = config.train.batch_size // process_count
    order = _Order(length, config.train.seed)
    for batch in range(len(positions) // own):
        rows = [order[positions[batch * own + i]] for i in range(own)]
        yield {"row": np.asarray(rows, np.int32), "valid": np.ones(own, bool)}


def load_all(source: Source) -> dict[str, np.ndarray]:
    """Reads a whole source into memory.

    Returns:
        `image` `[N, H, W, C]`, `label` `[N, H, W]` and `extent` `[N, 2]` int32, with the greatest
        height and width; nothing is to be read outside an example's extent.
    """
    sizes = [source.size(i) for i in range(len(source))]
    canvas = tuple(max(side) for side in zip(*sizes, strict=True))
    with ThreadPoolExecutor(READ_THREADS) as pool:
        examples = list(pool.map(source.__getitem__, range(len(source))))
    return {
        "image": np.stack([pad_to(example["image"], canvas, 0) for example in examples]),
        "label": np.stack([pad_to(example["label"], canvas, 0) for example in examples]),
        "extent": np.asarray([example["label"].shape for example in examples], np.int32),
    }


def eval_plan(source: Source, config: ConfigDict) -> list[tuple[tuple[int, int], list[int]]]:
    """The evaluation batches, as (canvas, rows); every process makes the same plan.

    Examples of one bucket go together; a row of -1 fills up the last batch of a bucket.
    """
    buckets: dict[tuple[int, int], list[int]] = {}
    for row in range(len(source)):
        canvas = bucket_canvas(source.size(row), config.eval.bucket)
        buckets.setdefault(canvas, []).append(row)
    size = config.eval.batch_size
    plan = []
    for canvas, rows in buckets.items():
        rows = rows + [-1] * (-len(rows) % size)
        plan += [(canvas, rows[i : i + size]) for i in range(0, len(rows), size)]
    return plan


def eval_batches(
    source: Source, config: ConfigDict, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's part of the evaluation batches; each example is in exactly one.

    A batch holds `image` `[b, H, W, C]`, `label` `[b, H, W]` (ignored outside the extent),
    `extent` `[b, 2]` int32, `valid` `[b]` and `index` `[b]` int32 (-1 where not valid).

    Raises:
        UserError: A file cannot be read or does not fit.
    """
    plan = eval_plan(source, config)
    own = config.eval.batch_size // process_count
    part = slice(process_index * own, (process_index + 1) * own)
    first = source[0]["image"]
    channels, dtype = first.shape[-1], first.dtype

    def read(canvas: tuple[int, int], row: int) -> dict[str, Any]:
        if row < 0:
            image = np.zeros((*canvas, channels), dtype)
            label = np.full(canvas, config.data.ignore_label, np.int32)
            return {"image": image, "label": label, "extent": (1, 1), "valid": False, "index": -1}
        example = source[row]
        return {
            "image": pad_to(example["image"], canvas, 0),
            "label": pad_to(example["label"].astype(np.int32), canvas, config.data.ignore_label),
            "extent": example["label"].shape,
            "valid": True,
            "index": row,
        }

    with ThreadPoolExecutor(READ_THREADS) as pool:
        # Two batches are read ahead, not the whole set.
        waiting = [[pool.submit(read, c, row) for row in rows[part]] for c, rows in plan[:2]]
        for number in range(len(plan)):
            if number + 2 < len(plan):
                canvas, rows = plan[number + 2]
                waiting.append([pool.submit(read, canvas, row) for row in rows[part]])
            examples = [job.result() for job in waiting.pop(0)]
            batch = {key: np.stack([e[key] for e in examples]) for key in examples[0]}
            for key in ("extent", "index"):
                batch[key] = batch[key].astype(np.int32)
            yield batch
