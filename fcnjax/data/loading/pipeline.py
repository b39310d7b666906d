"""Training batches on the host, read with Grain.

The order of the examples and their crops are functions of `(seed, k)`, where `k` counts the
examples of the whole run. Resuming therefore means starting at another `k`, and the numbers of
workers and processes do not change the k-th example.
"""

import contextlib
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grain
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import canvas_size, crop_canvas
from fcnjax.data.loading.eval_batches import (
    READ_THREADS,
    process_batch_size,
    read_padded,
    stack_examples,
)
from fcnjax.data.loading.workers import worker_batches
from fcnjax.data.source import Mixture, Source


def _shuffled_row(source: Source, seed: int, k: int) -> int:
    """Return the row of the source at global position k; each epoch has its own permutation."""

    def draw(number: int, k: int, length: int) -> int:
        epoch, position = divmod(k, length)
        return int(_permutation(seed, number, epoch, length)[position])

    return source.row(k, draw) if isinstance(source, Mixture) else draw(0, k, len(source))


@functools.lru_cache(maxsize=16)
def _permutation(seed: int, source: int, epoch: int, length: int) -> np.ndarray:
    # Grain's shuffle takes milliseconds per index on small sources (it draws until a number is in
    # range), and the epochs of seed s + 1 are those of seed s shifted by one.
    entropy = (seed, epoch, 1, source) if source else (seed, epoch, 1)
    return np.random.default_rng(entropy).permutation(length)


class _CroppedExamples:
    """The example at global position k, cropped to a canvas at a random position.

    Where the canvas extends over the image it holds zeros, outside of `bounds`.
    """

    def __init__(self, source: Source, config: ConfigDict):
        self._source = source
        self._canvas = canvas_size(config.augment)
        self._ignore_label = config.data.ignore_label
        self._config = config

    def __call__(self, k: int) -> dict[str, np.ndarray]:
        example = self._source[_shuffled_row(self._source, self._config.train.seed, k)]
        image, label = example["image"], example["label"]
        corner, bounds = crop_canvas(label, self._config, k)
        return {
            "image": _cut_canvas(image, corner, bounds, self._canvas, 0),
            "label": _cut_canvas(label, corner, bounds, self._canvas, self._ignore_label),
            "bounds": bounds,
            "valid": np.True_,
        }


def _cut_canvas(
    array: np.ndarray, corner: np.ndarray, bounds: np.ndarray, canvas: tuple[int, int], fill: int
) -> np.ndarray:
    """Cut a canvas out of `[H, W, ...]`, filled with `fill` outside of `bounds`."""
    top, left, bottom, right = bounds.tolist()
    y, x = corner.tolist()
    inside = array[y + top : y + bottom, x + left : x + right]
    if inside.shape[:2] == canvas:
        return inside
    window = np.full((*canvas, *array.shape[2:]), fill, array.dtype)
    window[top:bottom, left:right] = inside
    return window


def _positions(batch_size: int, start: int, index: int, count: int) -> "grain.MapDataset[int]":
    """Return the global positions that one of `count` processes reads, from batch `start` on.

    Each process takes a contiguous part of every global batch, so that the batch does not depend on
    the number of processes.
    """
    size = process_batch_size(batch_size, count, "config.train.batch_size")
    return grain.MapDataset.range(start * size, np.iinfo(np.int64).max // 2).map(
        lambda j: (j // size) * batch_size + index * size + j % size
    )


def train_batches(
    source: Source,
    config: ConfigDict,
    start: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield this process's part of the training batches endlessly, from global batch `start` on.

    A batch of b examples holds `image` `[b, H, W, C]` as stored, `label` `[b, H, W]`, `bounds`
    `[b, 4]` int32 as returned by `crop_canvas`, and `valid` `[b]`; H and W are `canvas_size`. Close
    the iterator to stop its workers.

    Raises:
        UserError: A file cannot be read, in this process or in a worker.
    """
    positions = _positions(config.train.batch_size, start, process_index, process_count)
    size = config.train.batch_size // process_count
    examples = positions.map(_CroppedExamples(source, config))
    batches = examples.batch(size, batch_fn=stack_examples)
    threads = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_THREADS)
    stream = batches.to_iter_dataset(threads)
    if config.data.loading.workers > 0:
        yield from worker_batches(stream, config.data.loading.workers)
        return
    with contextlib.closing(iter(stream)) as iterator:
        yield from iterator


def index_batches(
    source: Source,
    config: ConfigDict,
    start: int,
    labels: np.ndarray,
    extents: np.ndarray,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the batches of `train_batches` as indices into a dataset in device memory.

    A batch of b examples holds `row` `[b]` int32, `corner` `[b, 2]` and `bounds` `[b, 4]` as
    returned by `crop_canvas`, and `valid` `[b]`.

    Args:
        source: The examples; they are not read.
        config: The full config.
        start: The first global batch.
        labels: `[N, H, W]`, from `load_all`.
        extents: `[N, 2]`, from `load_all`.
        process_index: Index of this process among those that share each batch.
        process_count: Number of these processes.
    """
    positions = _positions(config.train.batch_size, start, process_index, process_count)
    size = config.train.batch_size // process_count
    for batch in range(len(positions) // size):
        batch_positions = [positions[batch * size + i] for i in range(size)]
        rows = [_shuffled_row(source, config.train.seed, k) for k in batch_positions]
        canvases = [
            crop_canvas(labels[row, : extents[row][0], : extents[row][1]], config, k)
            for k, row in zip(batch_positions, rows, strict=True)
        ]
        corners, bounds = zip(*canvases, strict=True)
        yield {
            "row": np.asarray(rows, np.int32),
            "corner": np.stack(corners),
            "bounds": np.stack(bounds),
            "valid": np.ones(size, bool),
        }


def load_all(source: Source, ignore_label: int = 255) -> dict[str, np.ndarray]:
    """Read a source into memory.

    Returns:
        `image` `[N, H, W, C]`, `label` `[N, H, W]` (ignored outside the extent) and `extent`
        `[N, 2]` int32, padded to the largest height and width.

    Raises:
        UserError: A file cannot be read or does not fit.
    """
    with ThreadPoolExecutor(READ_THREADS) as pool:
        rows = range(len(source))
        canvas = tuple(map(max, zip(*pool.map(source.size, rows), strict=True)))
        read = functools.partial(read_padded, source, canvas=canvas, ignore_label=ignore_label)
        return stack_examples(list(pool.map(read, rows)))
