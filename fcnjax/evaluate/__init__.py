"""Scores of a checkpoint on images with labels."""

from fcnjax.evaluate.evaluator import Evaluator
from fcnjax.evaluate.results import METRICS_FILE, Results, write_results
from fcnjax.evaluate.scored import with_split
from fcnjax.evaluate.stored_results import read_image_counts, read_image_names, read_scores

__all__ = [
    "METRICS_FILE",
    "Evaluator",
    "Results",
    "read_image_counts",
    "read_image_names",
    "read_scores",
    "with_split",
    "write_results",
]
