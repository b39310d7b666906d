"""Scores of a checkpoint on images with labels."""

from fcnjax.evaluation.evaluator import Evaluator
from fcnjax.evaluation.results import METRICS_FILE, Results, write_results
from fcnjax.evaluation.scored import with_split
from fcnjax.evaluation.stored_results import read_image_counts, read_image_names, read_scores

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
