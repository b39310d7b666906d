"""From a source to batches on the host, with Grain.

Which example comes when, and how it is cropped, are functions of `(seed, k)`, where `k` counts the
examples of the whole run: resuming is starting at another `k`, and neither workers nor processes
change what the k-th example is.
"""

import collections
import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import bucket_canvas, canvas_size, pad_to
from fcnjax.data.loading.crops import crop_canvas
from fcnjax.data.loading.mixture import Mixture
from fcnjax.data.loading.skipping import Unreadable
from fcnjax.data.loading.workers import worker_batches
from fcnjax.data.source import Source
from fcnjax.errors import UserError

READ_THREADS = 4  # a process; decoding frees the interpreter's lock


class _Order:
    """The row of the source at global position k: a new shuffle each epoch."""

    def __init__(self, source: Source, seed: int):
        self._source = source
        self._seed = seed

    def __getitem__(self, k: int) -> int:
        if isinstance(self._source, Mixture):
            return self._source.row(k, self._shuffled)
        return self._shuffled(0, k, len(self._source))

    def _shuffled(self, source: int, k: int, length: int) -> int:
        epoch, place = divmod(k, length)
        return int(_shuffle(self._seed, source, epoch, length)[place])


@functools.lru_cache(maxsize=16)
def _shuffle(seed: int, source: int, epoch: int, length: int) -> np.ndarray:
    # Grain's own shuffle takes milliseconds an index where the source is small (it draws until it
    # hits the range), and gives the epochs of seed s + 1 as those of seed s, one later.
    entropy = (seed, epoch, 1, source) if source else (seed, epoch, 1)
    return np.random.default_rng(entropy).permutation(length)


class _Examples:
    """The example at global position k, cropped to the canvas at a random place.

    Where the canvas hangs over the image it holds zeros, which `bounds` leaves out.
    """

    def __init__(self, source: Source, config: ConfigDict):
        self._source = source
        self._order = _Order(source, config.train.seed)
        self._canvas = canvas_size(config.augment)
        self._ignore = config.data.ignore_label
        self._config = config

    def __call__(self, k: int) -> dict[str, np.ndarray]:
        example = self._source[self._order[k]]
        image, label = example["image"], example["label"]
        corner, bounds = crop_canvas(label, self._config, k)
        return {
            "image": _window(image, corner, bounds, self._canvas, 0),
            "label": _window(label, corner, bounds, self._canvas, self._ignore),
            "bounds": bounds,
            "valid": np.True_,
        }


def _window(
    array: np.ndarray, corner: np.ndarray, bounds: np.ndarray, canvas: tuple[int, int], fill: int
) -> np.ndarray:
    """Cuts a canvas out of `[H, W, ...]`; outside its `bounds` it holds `fill`."""
    top, left, bottom, right = bounds.tolist()
    y, x = corner.tolist()
    inside = array[y + top : y + bottom, x + left : x + right]
    if inside.shape[:2] == canvas:
        return inside
    window = np.full((*canvas, *array.shape[2:]), fill, array.dtype)
    window[top:bottom, left:right] = inside
    return window


def _own_part(batch_size: int, count: int, what: str) -> int:
    """The examples of a batch that each of `count` processes has."""
    own = batch_size // count
    if own * count != batch_size:
        raise UserError(f"{what}: {batch_size} does not divide over {count} processes")
    return own


def _stack(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Makes a batch of examples."""
    if len(types := {str(example["image"].dtype) for example in examples}) > 1:
        # NumPy would make them all of the widest type, and uint8 ones black. Sources convert to
        # one type, unless the workdir does not know it.
        raise UserError(
            f"config.data: has {' and '.join(sorted(types))} images side by side, and the type "
            "that the model was trained on is not known; store them alike"
        )
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def _positions(batch_size: int, start: int, index: int, count: int) -> "grain.MapDataset[int]":
    """The global positions that one of `count` processes reads, from global batch `start` on.

    Each takes a contiguous part of every global batch, so that the batch does not depend on count.
    """
    own = _own_part(batch_size, count, "config.train.batch_size")
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

    A batch of b examples holds `image` `[b, H, W, C]` as stored, `label` `[b, H, W]`, `bounds`
    `[b, 4]` int32 as of `crop_canvas`, and `valid` `[b]`, where H and W are `canvas_size`. Close
    the iterator to end its workers.

    Raises:
        UserError: A file cannot be read, also where a worker read it.
    """
    positions = _positions(config.train.batch_size, start, process_index, process_count)
    own = config.train.batch_size // process_count
    batches = positions.map(_Examples(source, config)).batch(own, batch_fn=_stack)
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
    """Yields the batches of `train_batches` as places in a set that is in memory.

    A batch of b examples holds `row` `[b]` int32, `corner` `[b, 2]` and `bounds` `[b, 4]` as of
    `crop_canvas`, and `valid` `[b]`.

    Args:
        source: The examples, which are not read.
        config: The whole config.
        start: The first global batch.
        labels: `[N, H, W]`, as of `load_all`.
        extents: `[N, 2]`, as of `load_all`.
        process_index: This process's place among those that share each batch.
        process_count: How many do.
    """
    positions = _positions(config.train.batch_size, start, process_index, process_count)
    own = config.train.batch_size // process_count
    order = _Order(source, config.train.seed)
    for batch in range(len(positions) // own):
        places = [positions[batch * own + i] for i in range(own)]
        rows = [order[k] for k in places]
        canvases = []
        for k, row in zip(places, rows, strict=True):
            height, width = extents[row]
            canvases.append(crop_canvas(labels[row, :height, :width], config, k))
        corners, bounds = zip(*canvases, strict=True)
        yield {
            "row": np.asarray(rows, np.int32),
            "corner": np.stack(corners),
            "bounds": np.stack(bounds),
            "valid": np.ones(own, bool),
        }


def load_all(source: Source, ignore_label: int = 255) -> dict[str, np.ndarray]:
    """Reads a whole source into memory.

    Returns:
        `image` `[N, H, W, C]`, `label` `[N, H, W]` (ignored outside the extent) and `extent`
        `[N, 2]` int32, with the greatest height and width.

    Raises:
        UserError: A file cannot be read or does not fit.
    """
    with ThreadPoolExecutor(READ_THREADS) as pool:
        rows = range(len(source))
        canvas = tuple(map(max, zip(*pool.map(source.size, rows), strict=True)))
        return _stack(list(pool.map(lambda row: _padded(source, row, canvas, ignore_label), rows)))


def _padded(source: Source, row: int, canvas: tuple[int, int], ignore: int) -> dict[str, Any]:
    example = source[row]
    return {
        "image": pad_to(example["image"], canvas, 0),
        "label": pad_to(example["label"], canvas, ignore),
        "extent": np.asarray(example["label"].shape, np.int32),
    }


@dataclass(frozen=True)
class EvalBatch:
    """A batch of an evaluation, before it is read.

    Attributes:
        canvas: Height and width that its examples are padded to.
        padded: Whether any needs to be.
        rows: Its examples; -1 where there is none left.
    """

    canvas: tuple[int, int]
    padded: bool
    rows: Sequence[int]


def eval_plan(source: Source, config: ConfigDict) -> list[EvalBatch]:
    """The evaluation batches; every process makes the same plan.

    Examples of one bucket go together, those that fill it apart from those to be padded. One whose
    size cannot be read is in none, where the source leaves such out.
    """

    def size_of(row: int) -> tuple[int, int] | None:
        with contextlib.suppress(Unreadable):
            return source.size(row)
        return None

    groups: dict[tuple[tuple[int, int], bool], list[int]] = {}
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for row, size in enumerate(pool.map(size_of, range(len(source)))):
            if size is None:
                continue
            canvas = bucket_canvas(size, config.eval.bucket)
            groups.setdefault((canvas, tuple(size) != canvas), []).append(row)
    size = config.eval.batch_size
    plan = []
    for (canvas, padded), rows in groups.items():
        rows = rows + [-1] * (-len(rows) % size)
        parts = (rows[i : i + size] for i in range(0, len(rows), size))
        plan += [EvalBatch(canvas, padded, part) for part in parts]
    return plan


def _first(source: Source) -> dict[str, Any]:
    """The first example that is not left out."""
    for row in range(len(source) - 1):
        with contextlib.suppress(Unreadable):
            return source[row]
    return source[len(source) - 1]


def eval_batches(
    source: Source, config: ConfigDict, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's part of the evaluation batches; each example is in exactly one.

    A batch holds `image` `[b, H, W, C]`, `label` `[b, H, W]` (ignored outside the extent),
    `valid` `[b]`, `index` `[b]` int32 (-1 where not valid) and, where some are padded, `extent`
    `[b, 2]` int32. An example that the source leaves out is not valid.

    Raises:
        UserError: A file cannot be read or does not fit.
    """
    own = _own_part(config.eval.batch_size, process_count, "config.eval.batch_size")
    part = slice(process_index * own, (process_index + 1) * own)
    plan = eval_plan(source, config)
    ignore = config.data.ignore_label
    like = _first(source)  # for what fills up a batch

    def read(batch: EvalBatch, row: int) -> dict[str, Any]:
        canvas, example = batch.canvas, None
        if row >= 0:
            with contextlib.suppress(Unreadable):
                example = _padded(source, row, canvas, ignore)
        if example is None:
            row, image, label = -1, like["image"], like["label"]
            example = {
                "image": np.zeros((*canvas, image.shape[-1]), image.dtype),
                "label": np.full(canvas, ignore, label.dtype),
                "extent": np.ones(2, np.int32),
            }
        if not batch.padded:
            del example["extent"]
        return {**example, "valid": np.bool_(row >= 0), "index": np.int32(row)}

    with ThreadPoolExecutor(READ_THREADS) as pool:
        # Two batches are read ahead, not the whole set.
        waiting = collections.deque()
        for batch in plan:
            waiting.append([pool.submit(read, batch, row) for row in batch.rows[part]])
            if len(waiting) > 2:
                yield _stack([job.result() for job in waiting.popleft()])
        for jobs in waiting:
            yield _stack([job.result() for job in jobs])
