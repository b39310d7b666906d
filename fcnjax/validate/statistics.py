"""Statistics of a split, and the summary of a dataset that the checks look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from fcnjax.data import Source
from fcnjax.data.pairs import Pair
from fcnjax.validate.example_summary import ExampleSummary
from fcnjax.validate.masks import MaskStatistics

Pairs = Mapping[str, Sequence[Pair]]


class DatasetStatistics:
    """The summaries of the examples of a split, added up.

    Attributes:
        examples: Number of labels.
        counts: Pixels by class, int64 `[K]`.
        ignored: Number of ignored pixels.
        outside: Number of pixels whose label is neither a class nor ignored.
        images_with: Examples by class, int64 `[K]`.
        beside: By class, the counted pixels of the examples that have the class, int64 `[K]`.
        blank: Names of the examples without a counted pixel.
        sizes: Height and width of each image, int64 `[N, 2]`.
        mean: Mean of the pixels by channel, scaled to 0..1; None if no image was read, or the
            images differ in their channels.
        std: Standard deviation of the pixels, like `mean`.
    """

    def __init__(self, examples: Sequence[ExampleSummary], num_classes: int):
        labelled = [example for example in examples if example.counts is not None]
        readable = [example for example in examples if example.mean is not None]
        counts = np.asarray([example.counts for example in labelled], np.int64)
        counts = counts.reshape(len(labelled), num_classes)
        self.examples = len(labelled)
        self.counts = counts.sum(0)
        self.images_with = (counts > 0).sum(0)
        self.beside = ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)
        self.ignored = sum(example.ignored for example in labelled)
        self.outside = sum(example.outside for example in labelled)
        self.blank = [example.name for example in labelled if not example.counts.any()]
        self.sizes = np.asarray([each.size for each in readable], np.int64).reshape(-1, 2)
        self.mean, self.std = _mean_and_std(readable)

    @property
    def share(self) -> np.ndarray:
        """Share of the counted pixels by class, float64 `[K]`."""
        return self.counts / max(self.counts.sum(), 1)

    @property
    def ignored_share(self) -> float:
        """Share of all pixels that are not counted."""
        total = int(self.counts.sum()) + self.ignored + self.outside
        return (self.ignored + self.outside) / max(total, 1)


def _mean_and_std(
    examples: Sequence[ExampleSummary],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if len({len(example.mean) for example in examples}) != 1:
        return None, None
    weights = np.asarray([each.size[0] * each.size[1] for each in examples], np.float64)
    mean = np.average([example.mean for example in examples], 0, weights)
    square = np.average([example.square for example in examples], 0, weights)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def median_frequency_weights(statistics: DatasetStatistics) -> np.ndarray:
    """Compute class weights by median frequency balancing (Eigen and Fergus, ICCV 2015).

    The frequency of a class is its share of the pixels of the images that have it. Its weight is
    the median frequency over its own. A class that is in no image gets 1, which has no effect.

    Returns:
        Float64 `[K]`.
    """
    present = statistics.counts > 0
    weights = np.ones(len(statistics.counts))
    if present.any():
        frequency = statistics.counts[present] / statistics.beside[present]
        weights[present] = np.median(frequency) / frequency
    return weights


def inverse_weights(statistics: DatasetStatistics, power: float = 1.0) -> np.ndarray:
    """Compute class weights as the share of all pixels to the power of `-power`.

    The weights of the classes that occur have mean 1. A class that is in no image gets 1.

    Returns:
        Float64 `[K]`.
    """
    present = statistics.counts > 0
    weights = np.ones(len(statistics.counts))
    if present.any():
        raw = statistics.share[present] ** -power
        weights[present] = raw / raw.mean()
    return weights


def rounded(values: np.ndarray) -> tuple[float, ...]:
    """Round values to four digits, for a config that is easy to read."""
    return tuple(float(f"{value:.4g}") for value in values)


def format_sizes(sizes: np.ndarray) -> str:
    """Format the range of heights and widths `[N, 2]` as `500x375 to 500x500`."""
    if not len(sizes):
        return "unread"
    (low, left), (high, right) = sizes.min(0), sizes.max(0)
    smallest, largest = f"{left}x{low}", f"{right}x{high}"
    return smallest if smallest == largest else f"{smallest} to {largest}"


@dataclass(frozen=True)
class DatasetSummary:
    """The input of every check.

    Attributes:
        config: The config as the user gave it.
        resolved: The same config, resolved; None if that failed.
        sources: The open source of each split; None if it cannot be opened.
        pairs: The image and mask files of each split; None if the source has no such pairs.
        examples: Summaries of the examples that were read, of both splits.
        masks: What the mask files store, over both splits.
        statistics: Statistics of the labels and pixels of each split.
        is_complete: True if all examples were read.
    """

    config: ConfigDict
    resolved: ConfigDict | None
    sources: Mapping[str, Source | None]
    pairs: Pairs | None
    examples: Sequence[ExampleSummary]
    masks: MaskStatistics
    statistics: Mapping[str, DatasetStatistics]
    is_complete: bool

    @property
    def data(self) -> ConfigDict:
        """`config.data`, resolved if possible."""
        return (self.resolved or self.config).data
