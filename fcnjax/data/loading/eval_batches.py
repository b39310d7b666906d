"""Stacking and padding of examples, and the batches of an evaluation, grouped by padded size."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data.loading.canvas import bucket_canvas, pad_to
from fcnjax.data.loading.skipping import UnreadableExample
from fcnjax.data.source import Source
from fcnjax.errors import UserError
from fcnjax.io.prefetch import prefetch

PREFETCH = 2  # batches read ahead
READ_THREADS = 4  # per process; decoding releases the GIL


@dataclass(frozen=True)
class EvalBatch:
    """A batch of an evaluation before it is read.

    Attributes:
        canvas: Height and width to which its examples are padded.
        padded: Whether any example needs padding.
        rows: Rows of its examples; -1 fills up the last batch.
    """

    canvas: tuple[int, int]
    padded: bool
    rows: Sequence[int]


def plan_eval_batches(source: Source, config: ConfigDict) -> list[EvalBatch]:
    """Plan the batches of an evaluation; the plan is the same in every process.

    Examples of one bucket are batched together, those that fill it separately from those that need
    padding. UnreadableExample examples are left out if the source skips them.
    """

    def size_of(row: int) -> tuple[int, int] | None:
        with contextlib.suppress(UnreadableExample):
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


def _first_readable(source: Source) -> dict[str, Any]:
    for row in range(len(source) - 1):
        with contextlib.suppress(UnreadableExample):
            return source[row]
    return source[len(source) - 1]


def eval_batches(
    source: Source, config: ConfigDict, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Yield this process's part of the evaluation batches; each example is in exactly one.

    A batch holds `image` `[b, H, W, C]`, `label` `[b, H, W]` (ignored outside the extent),
    `valid` `[b]`, `index` `[b]` int32 (-1 if not valid) and, if some examples are padded, `extent`
    `[b, 2]` int32. Examples that the source leaves out are not valid.

    Raises:
        UserError: A file cannot be read or does not fit.
    """
    own_size = process_batch_size(config.eval.batch_size, process_count, "config.eval.batch_size")
    own_rows = slice(process_index * own_size, (process_index + 1) * own_size)
    plan = plan_eval_batches(source, config)
    ignore_label = config.data.ignore_label
    template = _first_readable(source)  # gives the types of examples that fill up a batch

    def read(batch: EvalBatch, row: int) -> dict[str, Any]:
        canvas, example = batch.canvas, None
        if row >= 0:
            with contextlib.suppress(UnreadableExample):
                example = read_padded(source, row, canvas, ignore_label)
        if example is None:
            row, image, label = -1, template["image"], template["label"]
            example = {
                "image": np.zeros((*canvas, image.shape[-1]), image.dtype),
                "label": np.full(canvas, ignore_label, label.dtype),
                "extent": np.ones(2, np.int32),
            }
        if not batch.padded:
            del example["extent"]
        return {**example, "valid": np.bool_(row >= 0), "index": np.int32(row)}

    rows = ((batch, row) for batch in plan for row in batch.rows[own_rows])
    ahead = PREFETCH * own_size
    examples = prefetch(lambda pair: read(*pair), rows, threads=READ_THREADS, ahead=ahead)
    with contextlib.closing(examples):
        for batch in plan:
            yield stack_examples([next(examples) for _ in batch.rows[own_rows]])


def process_batch_size(batch_size: int, process_count: int, key: str) -> int:
    """Return the number of examples of a batch that each process reads.

    Raises:
        UserError: The batch size is not divisible by the number of processes; names the key.
    """
    if batch_size % process_count:
        raise UserError(f"{key}: {batch_size} is not divisible by {process_count} processes")
    return batch_size // process_count


def stack_examples(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Stack examples to a batch.

    Raises:
        UserError: The images have several pixel types.
    """
    if len(types := {str(example["image"].dtype) for example in examples}) > 1:
        # NumPy would convert all to the widest type, in which uint8 images are black. This happens
        # only for workdirs that do not state a pixel type; otherwise sources convert to it.
        raise UserError(
            f"config.data: the dataset mixes {' and '.join(sorted(types))} images, and the pixel "
            "type that the model was trained on is not known; store all images in one type"
        )
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def read_padded(
    source: Source, row: int, canvas: tuple[int, int], ignore_label: int
) -> dict[str, Any]:
    """Read an example padded to a canvas, with its height and width as `extent`."""
    example = source[row]
    return {
        "image": pad_to(example["image"], canvas, 0),
        "label": pad_to(example["label"], canvas, ignore_label),
        "extent": np.asarray(example["label"].shape, np.int32),
    }
