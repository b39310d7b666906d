"""The properties of a dataset that the planner uses."""

import functools
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data import open_stored
from fcnjax.data.labels.classes import evenly
from fcnjax.data.pixel_type import convert_source
from fcnjax.data.source import Source
from fcnjax.errors import UserError
from fcnjax.io.prefetch import prefetch
from fcnjax.planner.symmetry import layout_map

MAX_EXAMPLES, SECONDS = 64, 20.0  # training examples that are read, and the time for it
MAX_SIDE = 2048  # pixels; of a larger image, the middle is read
MAX_SAMPLED = 2**16  # pixels of an example from which mean and deviation are computed


class ExampleTraits(NamedTuple):
    """The properties of an example.

    Attributes:
        size: Height and width.
        is_grey: Whether all channels are equal.
        mean: Mean of each channel, of pixels scaled to 0..1 (float32: not scaled).
        square: Mean of the squares, like `mean`.
        counts: Pixels by class, int64 `[K]`.
        edges: Sides of pixels at which a class ends, by class, int64 `[K]`.
        layout: As `layout_map` returns it.
    """

    size: tuple[int, int]
    is_grey: bool
    mean: np.ndarray
    square: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    layout: np.ndarray


@dataclass(frozen=True)
class Fingerprint:
    """The properties of a dataset.

    Attributes:
        train: Number of training images.
        held_out: Number of images held out for evaluation.
        examples: The properties of some training examples.
        class_names: The classes, by id.
        pixel_bytes: Bytes of a channel of a pixel.
    """

    train: int
    held_out: int
    examples: Sequence[ExampleTraits]
    class_names: Sequence[str]
    pixel_bytes: int

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of each example that was read, int64 `[N, 2]`."""
        return np.asarray([each.size for each in self.examples], np.int64)

    @property
    def is_grey(self) -> bool:
        """True if the channels of every image are equal."""
        return all(each.is_grey for each in self.examples)

    @property
    def shares(self) -> np.ndarray:
        """Share of the labelled pixels by class, float64 `[K]`."""
        counts = np.sum([each.counts for each in self.examples], 0)
        return counts / max(counts.sum(), 1)

    @property
    def thickness(self) -> np.ndarray:
        """Mean width of the regions of each class in pixels, float64 `[K]`; inf where it is absent.

        A long line of a width has half as many pixels as it has sides, times its width.
        """
        counts, edges = (
            np.sum([getattr(each, name) for each in self.examples], 0)
            for name in ("counts", "edges")
        )
        return np.where(counts > 0, 2 * counts / np.maximum(edges, 1), np.inf)

    @property
    def layouts(self) -> np.ndarray:
        """The layout maps of the examples, `[N, S, S, K + 1]`."""
        return np.stack([each.layout for each in self.examples])

    @property
    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel, each image counting alike."""
        mean = np.mean([each.mean for each in self.examples], 0)
        square = np.mean([each.square for each in self.examples], 0)
        return mean, np.sqrt(np.maximum(square - mean**2, 0))


def read_fingerprint(config: ConfigDict) -> Fingerprint:
    """Read some training examples of a resolved config.

    Raises:
        UserError: None of them can be read; names the first.
    """
    source = convert_source(open_stored(config, "train"), config.data)
    deadline = time.monotonic() + SECONDS
    rows = evenly(range(len(source)), MAX_EXAMPLES)
    # The first example is read in any case.
    in_time = itertools.takewhile(lambda row: not row or time.monotonic() < deadline, rows)
    threads = min(os.cpu_count() or 1, 16)
    read = functools.partial(_read, source, data=config.data)
    results = list(prefetch(read, in_time, threads=threads, ahead=2 * threads))
    examples = [each for each in results if isinstance(each, ExampleTraits)]
    if not examples:
        raise results[0]
    return Fingerprint(
        len(source),
        len(open_stored(config, "eval")),
        examples,
        config.data.class_names,
        np.dtype(config.data.pixel_type or np.uint8).itemsize,
    )


def _read(source: Source, row: int, *, data: ConfigDict) -> ExampleTraits | UserError:
    """Return the properties of an example, or why it cannot be read."""
    try:
        example = source[row]
    except UserError as error:
        return error
    corners = [max((side - MAX_SIDE) // 2, 0) for side in example["label"].shape]
    window = tuple(slice(corner, corner + MAX_SIDE) for corner in corners)
    image, label = (np.asarray(example[key][window]) for key in ("image", "label"))
    traits = summarise(image, label, len(data.class_names), data.ignore_label)
    return traits._replace(size=tuple(example["label"].shape))


def summarise(
    image: np.ndarray, label: np.ndarray, num_classes: int, ignore_label: int
) -> ExampleTraits:
    """Return the properties of an image `[H, W, C]` and its label `[H, W]`."""
    valid = (label != ignore_label) & (label >= 0) & (label < num_classes)
    ids = np.where(valid, label, num_classes).astype(np.int32)
    step = max(1, int(np.sqrt(label.size / MAX_SAMPLED)))
    pixels = image[::step, ::step].reshape(-1, image.shape[-1])
    limit = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    unit = pixels.astype(np.float64) / limit
    return ExampleTraits(
        image.shape[:2],
        bool((pixels == pixels[:, :1]).all()),
        unit.mean(0),
        (unit**2).mean(0),
        np.bincount(ids.ravel(), minlength=num_classes + 1)[:num_classes].astype(np.int64),
        _count_edges(ids, num_classes),
        layout_map(image, ids, num_classes),
    )


def _count_edges(ids: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the sides of pixels at which each class meets another one, `[K]`."""
    edges = np.zeros(num_classes + 1, np.int64)
    for before, after in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        differ = before != after
        for side in (before, after):
            edges += np.bincount(side[differ], minlength=num_classes + 1)
    return edges[:num_classes]
