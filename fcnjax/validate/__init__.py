"""Checks of datasets before training, and agreement of annotators."""

from fcnjax.validate.check import check, dataset_statistics, quick_check
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding
from fcnjax.validate.statistics import (
    DatasetStatistics,
    inverse_weights,
    median_frequency_weights,
    rounded,
)

__all__ = [
    "ERROR",
    "NOTE",
    "WARNING",
    "DatasetStatistics",
    "Finding",
    "check",
    "dataset_statistics",
    "inverse_weights",
    "median_frequency_weights",
    "quick_check",
    "rounded",
]
