"""The content of a dataset that the checks look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_collections import ConfigDict

from fcnjax.data import Source
from fcnjax.data.pairs import Pair
from fcnjax.validate.example_summary import ExampleSummary
from fcnjax.validate.mask_statistics import MaskStatistics
from fcnjax.validate.statistics import DatasetStatistics

Pairs = Mapping[str, Sequence[Pair]]


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
