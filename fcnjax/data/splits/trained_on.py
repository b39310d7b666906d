"""Detection of examples that a run was trained on, by the contents of their images."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fcnjax.data.splits.example import Box, Example, FileRecord, file_records
from fcnjax.data.splits.stored_split import StoredExample, StoredSet


def as_stored(examples: Sequence[Example], stored: StoredSet) -> list[StoredExample]:
    """Return examples with records of their images, hashed like those of a stored dataset.

    Images that differ in size from all training images are not read.
    """
    images = [example.files[0] for example in examples if example.files]
    records = file_records(images)
    sizes = {example.files[0].size for example in stored.parts["train"] if example.files}
    likely = (path for path, record in records.items() if record.size in sizes)
    records |= file_records(likely, stored.limit)
    return [
        StoredExample(e.names, e.box, e.digest, tuple(records[file] for file in e.files[:1]))
        for e in examples
    ]


def find_trained_on(
    scored: Sequence[StoredExample], stored: StoredSet, same_records: bool = False
) -> list[str]:
    """Return the titles of the examples whose image, or a part of it, was trained on.

    Names do not count: a copy under another name is the same image, and another image may have the
    name of a training image.

    Args:
        scored: The examples, hashed like those of `stored`.
        stored: A dataset of the run.
        same_records: Whether records of one name are the same, whatever the contents of their
            file: for a dataset that is read from where the run read it.
    """

    def image_of(example: StoredExample) -> object:
        is_record = len(example.box) == 1
        return example.names if same_records and is_record else _image_of(example)

    boxes: dict[object, list[Box]] = defaultdict(list)
    for example in stored.parts["train"]:
        boxes[image_of(example)].append(example.box)
    parts = {image: _Parts(spans if all(spans) else [()]) for image, spans in boxes.items()}
    return [
        example.title
        for example in scored
        if image_of(example) in parts and parts[image_of(example)].overlap(example.box)
    ]


class _Parts:
    """Parts of an image, grouped by their span of the first axis, then of the next.

    A raster has thousands of parts.

    Args:
        boxes: The parts; () is all of the image.
    """

    def __init__(self, boxes: Sequence[Box]):
        spans: dict[tuple[int, int], list[Box]] = defaultdict(list)
        for box in boxes:
            if box:
                spans[box[0]].append(box[1:])
        self._spans = np.asarray(list(spans), np.int64).reshape(-1, 2)
        self._rest = [_Parts(rest) for rest in spans.values()]

    def overlap(self, box: Box) -> bool:
        """Return whether one of these parts overlaps `box`."""
        if not box or not self._rest:
            return True
        start, stop = box[0]
        hits = np.flatnonzero((start < self._spans[:, 1]) & (self._spans[:, 0] < stop))
        return any(self._rest[hit].overlap(box[1:]) for hit in hits)


def _image_of(example: StoredExample) -> object:
    """Return an identity of the image file's contents; the names if the image has no file."""
    if not example.files:
        return example.names
    record: FileRecord = example.files[0]
    return (record.size, record.digest) if record.digest else (example.names, record)
