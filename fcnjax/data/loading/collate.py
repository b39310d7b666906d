"""Collation of examples into batches: stacking, padding and the share of each process."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcnjax.data.loading.canvas import pad_to
from fcnjax.data.source import Source
from fcnjax.errors import UserError

READ_THREADS = 4  # per process; decoding releases the GIL


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
