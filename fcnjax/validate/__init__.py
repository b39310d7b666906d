"""The doctor of data sets: reads a set before it is trained on, and says what is wrong with it."""

from fcnjax.validate.check import check, quick_check, tally_of
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding
from fcnjax.validate.statistics import Tally, inverse_weights, median_frequency_weights, rounded

__all__ = [
    "ERROR",
    "NOTE",
    "WARNING",
    "Finding",
    "Tally",
    "check",
    "inverse_weights",
    "median_frequency_weights",
    "quick_check",
    "rounded",
    "tally_of",
]
